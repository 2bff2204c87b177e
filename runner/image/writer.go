package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/privatefile"
)

// ErrInUse is returned for an image that a sandbox is made from.
var ErrInUse = errors.New("the image is in use")

// Writer is the one process that changes a store.
type Writer struct {
	store *Store
	dir   *os.File
	lock  *os.File
}

// lockPoll is how often a held lock is tried again.
const lockPoll = 50 * time.Millisecond

// Write takes the store's lock, making the store if need be, and removes what
// a writer that was killed left behind. While another one writes it calls
// waiting once and waits, as long as ctx lasts.
func (s *Store) Write(ctx context.Context, waiting func()) (_ *Writer, err error) {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make image store: %w", err)
	}
	w := &Writer{store: s}
	defer func() {
		if err != nil {
			w.Close()
		}
	}()
	if w.dir, err = s.open(); err != nil {
		return nil, err
	}
	if w.lock, err = createBelow(w.dir, lockName, unix.O_CREAT); err != nil {
		return nil, fmt.Errorf("open lock of image store: %w", err)
	}
	if err := w.wait(ctx, waiting); err != nil {
		return nil, fmt.Errorf("lock image store: %w", err)
	}
	return w, w.sweep()
}

func (w *Writer) wait(ctx context.Context, waiting func()) error {
	again := time.NewTicker(lockPoll)
	defer again.Stop()
	for {
		err := unix.Flock(int(w.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		if waiting != nil {
			waiting()
			waiting = nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-again.C:
		}
	}
}

// sweep removes what is not an image: the lock says that nobody works on it.
func (w *Writer) sweep() error {
	entries, err := os.ReadDir(w.store.dir)
	if err != nil {
		return fmt.Errorf("list image store: %w", err)
	}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), tmpPrefix) {
			if err := os.RemoveAll(filepath.Join(w.store.dir, entry.Name())); err != nil {
				return fmt.Errorf("remove left-over: %w", err)
			}
		}
	}
	return nil
}

// Close gives the lock back.
func (w *Writer) Close() error {
	var errs []error
	for _, f := range []*os.File{w.dir, w.lock} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// Has says whether an image is in the store.
func (w *Writer) Has(id string) (bool, error) {
	if !isDigest(id) {
		return false, nil
	}
	var st unix.Stat_t
	err := unix.Fstatat(int(w.dir.Fd()), hexOf(id), &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for image %s: %w", id, err)
	}
	return true, nil
}

// Draft is an image in the making.
type Draft struct {
	// Path is a directory for whatever the making needs, on the store's file
	// system; it goes when the draft is closed.
	Path string
	// Root is where the layers are unpacked.
	Root   *os.File
	writer *Writer
}

// Draft begins an image.
func (w *Writer) Draft() (*Draft, error) {
	path, err := os.MkdirTemp(w.store.dir, tmpPrefix)
	if err != nil {
		return nil, fmt.Errorf("make draft: %w", err)
	}
	d := &Draft{Path: path, writer: w}
	target := filepath.Join(path, "image", rootName)
	// By descriptor of what was just made, and 0755 whatever the umask: an
	// image need not say what its root directory is like.
	if err = os.MkdirAll(target, 0o755); err == nil {
		err = os.Chmod(target, 0o755)
	}
	if err == nil {
		d.Root, err = os.Open(target)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make draft: %w", err), d.Close())
	}
	return d, nil
}

// Commit makes an image of the draft: with one rename, and after all of it
// has reached the disk, so that neither a kill nor a power failure leaves a
// part of an image that counts.
func (d *Draft) Commit(info Info) error {
	if !isDigest(info.ID) {
		return fmt.Errorf("keep image: %q is no image ID", info.ID)
	}
	path := filepath.Join(d.Path, "image")
	info.Names = nil // they are in the index
	data, err := encode(info)
	if err == nil {
		err = writeNew(filepath.Join(path, recordName), data)
	}
	if err != nil {
		return fmt.Errorf("write record of image: %w", err)
	}
	if err := unix.Syncfs(int(d.Root.Fd())); err != nil {
		return fmt.Errorf("write image to disk: %w", err)
	}
	target := filepath.Join(d.writer.store.dir, hexOf(info.ID))
	if err := unix.Renameat2(unix.AT_FDCWD, path, unix.AT_FDCWD, target, unix.RENAME_NOREPLACE); err != nil {
		return fmt.Errorf("keep image %s: %w", info.ID, err)
	}
	return d.writer.sync()
}

// Close removes the draft, or what is left of it after a commit.
func (d *Draft) Close() error {
	var err error
	if d.Root != nil {
		err = d.Root.Close()
	}
	return errors.Join(err, os.RemoveAll(d.Path))
}

// Name makes references mean an image; one that meant another no longer does.
func (w *Writer) Name(id string, references ...string) error {
	return w.change(func(names index) error {
		for _, text := range references {
			name, err := canonical(text)
			if err != nil {
				return err
			}
			names[name] = id
		}
		return nil
	})
}

// Unname takes a reference from its image, which stays.
func (w *Writer) Unname(text string) error {
	return w.change(func(names index) error {
		name, err := canonical(text)
		delete(names, name)
		return err
	})
}

func (w *Writer) change(edit func(index) error) error {
	names, err := readIndex(w.dir)
	if err != nil {
		return err
	}
	if err := edit(names); err != nil {
		return err
	}
	data, err := encode(names)
	if err != nil {
		return fmt.Errorf("write names of images: %w", err)
	}
	dir, err := privatefile.Open(w.store.dir)
	if err != nil {
		return fmt.Errorf("write names of images: %w", err)
	}
	defer dir.Close()
	if err := dir.Write(indexName, data); err != nil {
		return fmt.Errorf("write names of images: %w", err)
	}
	return nil
}

// Remove removes an image and its names, unless it is in use (ErrInUse).
func (w *Writer) Remove(id string) error {
	if has, err := w.Has(id); err != nil || !has {
		return errors.Join(err, &NotFoundError{id})
	}
	held, err := openBelow(w.dir, hexOf(id), unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return fmt.Errorf("open image %s: %w", id, err)
	}
	defer held.Close()
	err = unix.Flock(int(held.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("remove image %s: %w", id, ErrInUse)
	}
	if err != nil {
		return fmt.Errorf("lock image %s: %w", id, err)
	}
	err = w.change(func(names index) error {
		for name, other := range names {
			if other == id {
				delete(names, name)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	// Out of the store at once, and only then bit by bit.
	gone := filepath.Join(w.store.dir, tmpPrefix+hexOf(id))
	if err := os.Rename(filepath.Join(w.store.dir, hexOf(id)), gone); err != nil {
		return fmt.Errorf("remove image %s: %w", id, err)
	}
	if err := os.RemoveAll(gone); err != nil {
		return fmt.Errorf("remove image %s: %w", id, err)
	}
	return w.sync()
}

func (w *Writer) sync() error {
	if err := w.dir.Sync(); err != nil {
		return fmt.Errorf("write image store to disk: %w", err)
	}
	return nil
}

func createBelow(dir *os.File, name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(int(dir.Fd()), name, flags|unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// writeNew writes a file where there is nothing, not a symlink either.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// encode writes JSON that people can read too.
func encode(v any) ([]byte, error) {
	data, err := json.MarshalIndent(v, "", "  ")
	return append(data, '\n'), err
}

// Package privatefile keeps small files that are for one user alone, in a
// directory that is too, and replaces each as a whole: whatever ends the process
// or the machine, there is the file as it was or as it is to be, and once Write
// has returned, it is the latter (rename(2), fsync(2)).
//
// A directory or a file that another user owns or may use is refused, as is a
// path with a symlink in it: somebody else may have put it there. What is checked
// is what is used, since all is done by descriptor.
//
// It imports the standard library and x/sys only. It never follows a symlink,
// never waits for the writer of a FIFO, never makes a file that others can read,
// not even for a moment, and never puts what is in a file into an error.
package privatefile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lockPoll is how often a held lock is tried again.
const lockPoll = 5 * time.Millisecond

// Dir is a directory that is open. It is to be closed.
type Dir struct {
	fd   int
	path string
}

// Make opens a directory, and makes it where there is none: with mode 0700, and
// on the disk when it returns. Those above it are made with 0711: what is in
// them beside it may be for others.
func Make(path string) (*Dir, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
		return nil, err
	}
	switch err := os.Mkdir(path, 0o700); {
	case err == nil:
		if err := syncDir(filepath.Dir(path)); err != nil {
			return nil, err
		}
	case !errors.Is(err, fs.ErrExist):
		return nil, err
	}
	return Open(path)
}

// syncDir puts the names in a directory on the disk (fsync(2)).
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Open opens a directory that its owner alone can use, so that nobody else can
// take its lock either. The owner is this process's user: root. Where there is
// none it returns fs.ErrNotExist.
func Open(path string) (*Dir, error) {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path {
		return nil, fmt.Errorf("%q is not a clean absolute path", path)
	}
	fd, err := openAt(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_DIRECTORY, 0, unix.RESOLVE_NO_SYMLINKS)
	if errors.Is(err, unix.ELOOP) {
		err = fmt.Errorf("%w; a symlink is not followed", err)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	d := &Dir{fd, path}
	if _, err := owned(fd, path, unix.S_IFDIR, "0700"); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// Close closes the directory, and with it gives its lock back.
func (d *Dir) Close() { _ = unix.Close(d.fd) }

// owned accepts what is of this kind, this user's, and no one else's to use.
func owned(fd int, path string, kind uint32, mode string) (*unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, fmt.Errorf("stat %s: %w", path, err)
	}
	switch {
	case st.Mode&unix.S_IFMT != kind:
		return nil, fmt.Errorf("%s: not of the kind that creel makes", path)
	case st.Uid != uint32(os.Geteuid()):
		return nil, fmt.Errorf("%s: owned by uid %d; chown it to root", path, st.Uid)
	case st.Mode&0o077 != 0:
		return nil, fmt.Errorf("%s: mode %04o lets others use it; chmod %s", path, st.Mode&0o7777, mode)
	}
	return &st, nil
}

// openAt is openat2(2).
func openAt(dir int, path string, flags, mode int, resolve uint64) (int, error) {
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Mode: uint64(mode), Resolve: resolve | unix.RESOLVE_NO_MAGICLINKS}
	for {
		fd, err := unix.Openat2(dir, path, &how)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// Lock excludes other holders of the lock, in this process and in others
// (flock(2)), until the directory is closed. It waits for them at most so long.
// Reading needs no lock: a file is only ever replaced.
func (d *Dir) Lock(wait time.Duration) error {
	for deadline := time.Now().Add(wait); ; time.Sleep(lockPoll) {
		err := unix.Flock(d.fd, unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			return fmt.Errorf("lock %s: %w", d.path, err)
		case time.Now().After(deadline):
			return fmt.Errorf("lock %s: another process holds it", d.path)
		}
	}
}

// checkName refuses what is no name of a file in the directory, or is one of
// those that become files.
func checkName(name string) error {
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") || strings.HasSuffix(name, partial) {
		return fmt.Errorf("%q is no name of a file", name)
	}
	return nil
}

// Read gives what is in a file of at most so many bytes. Where there is none it
// returns fs.ErrNotExist.
func (d *Dir) Read(name string, most int64) ([]byte, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	path := filepath.Join(d.path, name)
	// O_NONBLOCK: opening a FIFO must not wait for its writer.
	fd, err := openAt(d.fd, name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	defer func() { _ = unix.Close(fd) }()
	st, err := owned(fd, path, unix.S_IFREG, "0600")
	if err != nil {
		return nil, err
	}
	if st.Size > most {
		return nil, fmt.Errorf("%s: has %d bytes, and %d are the most that creel writes", path, st.Size, most)
	}
	data := make([]byte, st.Size)
	for n := 0; n < len(data); {
		more, err := unix.Read(fd, data[n:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && more == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		n += more
	}
	return data, nil
}

// Names lists what is in the directory, sorted, but for what is not yet a file.
func (d *Dir) Names() ([]string, error) {
	names, err := d.list()
	return slices.DeleteFunc(names, func(name string) bool { return strings.HasSuffix(name, partial) }), err
}

// Sweep removes what crashes left of files that they kept from being written.
// It is for who alone writes in the directory. Write does it for its own file.
func (d *Dir) Sweep() error {
	names, err := d.list()
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasSuffix(name, partial) {
			continue
		}
		if err := unix.Unlinkat(d.fd, name, 0); err != nil {
			return fmt.Errorf("remove %s: %w", filepath.Join(d.path, name), err)
		}
	}
	return nil
}

func (d *Dir) list() ([]string, error) {
	// Opened anew: where a listing is at belongs to the open directory.
	fd, err := openAt(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0, unix.RESOLVE_BENEATH)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", d.path, err)
	}
	dir := os.NewFile(uintptr(fd), d.path)
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", d.path, err)
	}
	slices.Sort(names)
	return names, nil
}

// Remove removes a file. It is not on the disk when it returns: a crash may
// bring the file back. Where there is none it returns fs.ErrNotExist.
func (d *Dir) Remove(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := unix.Unlinkat(d.fd, name, 0); err != nil {
		return fmt.Errorf("remove %s: %w", filepath.Join(d.path, name), err)
	}
	return nil
}

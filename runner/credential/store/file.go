package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// The names in a store's directory. partial is what becomes file: ciphertext
// like it, and removed by the next change where a crash left it.
const (
	file    = "secrets.age"
	partial = "secrets.age.partial"
)

// maxFile bounds the file in bytes: age adds a header, and 16 bytes for every
// 64 KiB.
const maxFile = maxPlain + 64<<10

// lockWait is how long a change waits for another one, which takes some
// milliseconds.
const lockWait = 5 * time.Second

// errNoStore says that nothing was ever kept.
var errNoStore = errors.New("there is none")

// directory is a store's, open. All that is done in it is done by descriptor.
type directory struct {
	fd   int
	path string
}

// makeDir makes the directory where there is none, and opens it. Those above
// it are not secret: image roots lie below them too.
func makeDir(path string) (*directory, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
		return nil, err
	}
	switch err := os.Mkdir(path, 0o700); {
	case err == nil:
		if err := syncDir(filepath.Dir(path)); err != nil {
			return nil, err
		}
	case !errors.Is(err, os.ErrExist):
		return nil, err
	}
	return openDir(path)
}

// syncDir puts the names in a directory on the disk (fsync(2)).
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// openDir opens a directory that its owner alone can use, so that nobody else
// can take its lock either. The owner is this process's user: root.
func openDir(path string) (*directory, error) {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path {
		return nil, fmt.Errorf("%q is not a clean absolute path", path)
	}
	fd, err := openAt(unix.AT_FDCWD, path, unix.O_RDONLY|unix.O_DIRECTORY, 0, unix.RESOLVE_NO_SYMLINKS)
	if errors.Is(err, unix.ENOENT) {
		return nil, errNoStore
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w; a symlink is not followed", path, err)
	}
	d := &directory{fd, path}
	if _, err := owned(fd, path, unix.S_IFDIR, "0700"); err != nil {
		d.close()
		return nil, err
	}
	return d, nil
}

func (d *directory) close() { _ = unix.Close(d.fd) }

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

// lock excludes other changes, of this process and of others (flock(2)), until
// the directory is closed. It waits for them at most so long.
func (d *directory) lock(wait time.Duration) error {
	for deadline := time.Now().Add(wait); ; time.Sleep(5 * time.Millisecond) {
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

// read gives the file as it is: it is only ever replaced.
func (d *directory) read() ([]byte, error) {
	path := filepath.Join(d.path, file)
	// O_NONBLOCK: opening a FIFO must not wait for its writer.
	fd, err := openAt(d.fd, file, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY, 0, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS)
	if errors.Is(err, unix.ENOENT) {
		return nil, errNoStore
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	defer func() { _ = unix.Close(fd) }()
	st, err := owned(fd, path, unix.S_IFREG, "0600")
	if err != nil {
		return nil, err
	}
	if st.Size > maxFile {
		return nil, fmt.Errorf("%s: has %d bytes, and %d are the most that creel writes", path, st.Size, maxFile)
	}
	sealed := make([]byte, st.Size)
	for n := 0; n < len(sealed); {
		more, err := unix.Read(fd, sealed[n:])
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
	return sealed, nil
}

// change is one replacement of the file.
type change struct {
	*directory
	sealed []byte
	fd     int
}

// changeSteps replace the file. Before the rename a crash leaves the old one,
// after it the new one, whole: it was on the disk by then (rename(2),
// fsync(2)). Only the last step makes sure that the new name is, too.
var changeSteps = []struct {
	name string
	do   func(*change) error
}{
	{"remove what a crash left", (*change).sweep},
	{"make new file", (*change).create},
	{"write new file", (*change).fill},
	{"sync new file", func(c *change) error { return unix.Fsync(c.fd) }},
	{"replace file", func(c *change) error { return unix.Renameat(c.directory.fd, partial, c.directory.fd, file) }},
	{"sync directory", func(c *change) error { return unix.Fsync(c.directory.fd) }},
}

// write replaces the file, for good once it returns.
func (d *directory) write(sealed []byte) error {
	c := &change{directory: d, sealed: sealed, fd: -1}
	err := c.run(len(changeSteps))
	if err != nil {
		_ = c.sweep()
	}
	return err
}

// run does the first steps.
func (c *change) run(steps int) error {
	defer func() {
		if c.fd >= 0 {
			_ = unix.Close(c.fd)
		}
	}()
	for _, step := range changeSteps[:steps] {
		if err := step.do(c); err != nil {
			return fmt.Errorf("%s in %s: %w", step.name, c.path, err)
		}
	}
	return nil
}

func (c *change) sweep() error {
	if err := unix.Unlinkat(c.directory.fd, partial, 0); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}

func (c *change) create() (err error) {
	c.fd, err = openAt(c.directory.fd, partial, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS)
	return err
}

func (c *change) fill() error {
	for rest := c.sealed; len(rest) > 0; {
		n, err := unix.Write(c.fd, rest)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

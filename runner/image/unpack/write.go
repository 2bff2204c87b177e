package unpack

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// maxSkipped bounds the list of what was left out.
const maxSkipped = 100

// write is the second reading: it makes the entry, in place of whatever an
// earlier one made there. A directory stays a directory with its content.
func (t *Tree) write(e *entry) error {
	if e.kind == whiteout || e.kind == opaque {
		return nil // the first reading was for them
	}
	if e.base == "" {
		return own(int(t.root.Fd()), e)
	}
	parent, err := t.enter(e.dir)
	if err != nil {
		return err
	}
	kept, err := t.clear(parent, e)
	if err != nil {
		return err
	}
	if kept || e.kind == special {
		return t.settle(parent, e)
	}
	// clear may have closed it, with a directory that it removed.
	if parent, err = t.enter(e.dir); err != nil {
		return err
	}
	switch e.kind {
	case directory:
		if err := unix.Mkdirat(parent, e.base, 0o700); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
	case regular:
		return t.writeFile(parent, e)
	case symlink:
		if err := unix.Symlinkat(e.link, parent, e.base); err != nil {
			return fmt.Errorf("make symlink: %w", err)
		}
		if err := unix.Fchownat(parent, e.base, e.uid, e.gid, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("set owner: %w", err)
		}
	case hardlink:
		return t.linkFile(parent, e)
	}
	return t.settle(parent, e)
}

// clear removes what is in the entry's place, unless both are directories.
func (t *Tree) clear(parent int, e *entry) (kept bool, err error) {
	var st unix.Stat_t
	err = unix.Fstatat(parent, e.base, &st, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case errors.Is(err, unix.ENOENT):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look at its place: %w", err)
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return false, remove(parent, e.base)
	case e.kind == directory:
		return true, nil
	}
	err = remove(parent, e.base)
	t.forget()
	return false, err
}

// settle gives a directory its owner, and all but files their time; a special
// file is only noted.
func (t *Tree) settle(parent int, e *entry) error {
	switch e.kind {
	case special:
		if name := path.Join(e.dir, e.base); !strings.HasPrefix(name, "dev/") && len(t.skipped) < maxSkipped {
			t.skipped = append(t.skipped, name)
		}
		return nil
	case directory:
		fd, err := unix.Openat(parent, e.base, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open directory: %w", err)
		}
		defer unix.Close(fd)
		if err := own(fd, e); err != nil {
			return err
		}
	}
	return date(parent, e)
}

func (t *Tree) writeFile(parent int, e *entry) error {
	fd, err := unix.Openat(parent, e.base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("make file: %w", err)
	}
	f := os.NewFile(uintptr(fd), e.base)
	defer f.Close()
	if _, err := io.CopyBuffer(onlyWriter{f}, onlyReader{e.data}, t.buffer); err != nil {
		return fmt.Errorf("write file: %w", err)
	}
	if err := own(fd, e); err != nil {
		return err
	}
	return date(parent, e)
}

// onlyWriter hides all methods but Write, so that a copy uses its buffer.
type onlyWriter struct{ io.Writer }

// linkFile makes a hard link, to a symlink itself where the target is one.
// Owner, mode and time are those of the file, which is the same.
func (t *Tree) linkFile(parent int, e *entry) error {
	dir, base := path.Split(e.link)
	from, err := t.lookup(strings.TrimSuffix(dir, "/"))
	if err != nil {
		return fmt.Errorf("open directory of the hard link's target: %w", err)
	}
	defer unix.Close(from)
	if err := unix.Linkat(from, base, parent, e.base, 0); err != nil {
		return fmt.Errorf("make hard link to %.200q: %w", e.link, err)
	}
	return nil
}

// own sets owner and mode, in this order: chown(2) clears bits of the mode.
func own(fd int, e *entry) error {
	if err := unix.Fchown(fd, e.uid, e.gid); err != nil {
		return fmt.Errorf("set owner: %w", err)
	}
	if err := unix.Fchmod(fd, e.mode); err != nil {
		return fmt.Errorf("set mode: %w", err)
	}
	return nil
}

func date(parent int, e *entry) error {
	at := unix.NsecToTimespec(0)
	at.Sec, at.Nsec = e.modified.Unix(), int64(e.modified.Nanosecond())
	if err := unix.UtimesNanoAt(parent, e.base, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("set time: %w", err)
	}
	return nil
}

// remove removes an entry of a directory with all below it; a missing one is
// removed already.
func remove(parent int, name string) error {
	err := unix.Unlinkat(parent, name, 0)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if !errors.Is(err, unix.EISDIR) {
		return fmt.Errorf("remove %.200q: %w", name, err)
	}
	fd, err := unix.Openat(parent, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("remove %.200q: %w", name, err)
	}
	defer unix.Close(fd)
	if err := empty(fd); err != nil {
		return err
	}
	if err := unix.Unlinkat(parent, name, unix.AT_REMOVEDIR); err != nil {
		return fmt.Errorf("remove %.200q: %w", name, err)
	}
	return nil
}

// empty removes all that is in a directory.
func empty(dir int) error {
	fd, err := unix.Openat(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open directory: %w", err)
	}
	f := os.NewFile(uintptr(fd), "directory")
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return fmt.Errorf("list directory: %w", err)
	}
	for _, name := range names {
		if err := remove(dir, name); err != nil {
			return err
		}
	}
	return nil
}

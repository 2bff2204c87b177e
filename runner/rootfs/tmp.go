package rootfs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Tmp is a /tmp that several sandboxes share, one after another or at once: a
// tmpfs with bounds of its own, in the supervisor's mount namespace alone.
type Tmp struct {
	// Path is where an OCI runtime binds it from.
	Path string
	// Dev and Ino identify it in a sandbox.
	Dev, Ino uint64
}

// NewTmp makes an empty one of so many bytes and inodes.
func (s *Stage) NewTmp(size, inodes int64) (_ *Tmp, err error) {
	fd, err := newTmpfs("mode", "1777", "size", strconv.FormatInt(size, 10), "nr_inodes", strconv.FormatInt(inodes, 10))
	if err != nil {
		return nil, fmt.Errorf("make shared /tmp: %w", err)
	}
	defer unix.Close(fd)
	s.mu.Lock()
	s.next++
	t := &Tmp{Path: filepath.Join(s.dir, strconv.Itoa(s.next))}
	s.mu.Unlock()
	if err := os.Mkdir(t.Path, 0o711); err != nil {
		return nil, fmt.Errorf("make shared /tmp: %w", err)
	}
	if t.Dev, t.Ino, err = identity(fd); err == nil {
		err = unix.MoveMount(fd, "", unix.AT_FDCWD, t.Path, unix.MOVE_MOUNT_F_EMPTY_PATH)
	}
	if err != nil {
		return nil, fmt.Errorf("mount shared /tmp: %w", errors.Join(err, os.Remove(t.Path)))
	}
	return t, nil
}

// Close takes it away from here. What is in it is gone with the last sandbox
// that has it.
func (t *Tmp) Close() error {
	if err := unix.Unmount(t.Path, unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount shared /tmp: %w", err)
	}
	return os.Remove(t.Path)
}

package credential

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// openHelper opens the helper at name.
func openHelper(name string) (*os.File, error) {
	fd, err := openRoots(name)
	if err != nil {
		return nil, err
	}
	return checkHelper(fd, name)
}

// ReadFile reads a value from a file that its owner, root, alone can use, in
// directories that only root can change; none of them is a symlink.
func ReadFile(name string) (Secret, error) {
	fd, err := openRoots(name)
	if err != nil {
		return Secret{}, err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := checkPrivate(fd); err != nil {
		return Secret{}, fmt.Errorf("check %s: %w", name, err)
	}
	return readValue(fd)
}

// openRoots opens the file at name, from / down, one component at a time, and
// checks each directory by its descriptor.
func openRoots(name string) (int, error) {
	if !path.IsAbs(name) || path.Clean(name) != name || name == "/" {
		return -1, fmt.Errorf("%q is not a clean absolute path of a file", name)
	}
	dir, err := openAt(unix.AT_FDCWD, "/", unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return -1, fmt.Errorf("open /: %w", err)
	}
	defer func() { _ = unix.Close(dir) }()
	here := "/"
	if err := checkRoots(dir); err != nil {
		return -1, fmt.Errorf("check %s: %w", here, err)
	}
	above, base := path.Split(name)
	for part := range strings.FieldsFuncSeq(above, func(r rune) bool { return r == '/' }) {
		here = path.Join(here, part)
		next, err := openBeneath(dir, part, unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return -1, fmt.Errorf("open %s: %w", here, err)
		}
		_ = unix.Close(dir)
		dir = next
		if err := checkRoots(dir); err != nil {
			return -1, fmt.Errorf("check %s: %w", here, err)
		}
	}
	// O_NONBLOCK: opening a FIFO must not wait for its writer.
	fd, err := openBeneath(dir, base, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", name, err)
	}
	return fd, nil
}

// openBeneath opens one component.
func openBeneath(dir int, part string, flags int) (int, error) {
	fd, err := openAt(dir, part, flags, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS)
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENOTDIR) {
		return -1, fmt.Errorf("%w: a symlink is not followed; name what it leads to", err)
	}
	return fd, err
}

// checkHelper makes a file of fd if it is a program of root's.
func checkHelper(fd int, name string) (*os.File, error) {
	file := os.NewFile(uintptr(fd), name)
	var stat unix.Stat_t
	err := unix.Fstat(fd, &stat)
	switch {
	case err != nil:
	case stat.Mode&unix.S_IFMT != unix.S_IFREG:
		err = errors.New("not a regular file")
	case stat.Mode&0o100 == 0:
		err = errors.New("not executable")
	default:
		err = checkRoots(fd)
	}
	if err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("check %s: %w", name, err)
	}
	return file, nil
}

// checkRoots accepts what only root can change. A sticky directory such as
// /tmp is refused as well: others can add to it. An ACL that lets somebody
// write shows in the group's bits (acl(5)).
func checkRoots(fd int) error {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return err
	}
	if stat.Uid != 0 {
		return fmt.Errorf("owned by uid %d, not by root", stat.Uid)
	}
	if stat.Mode&0o022 != 0 {
		return fmt.Errorf("mode %04o lets others than root write", stat.Mode&0o7777)
	}
	return nil
}

// isScript says whether the kernel will run file by an interpreter
// (execve(2)).
func isScript(file *os.File) (bool, error) {
	head := make([]byte, 2)
	n, err := file.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return false, err
	}
	return n == 2 && string(head) == "#!", nil
}

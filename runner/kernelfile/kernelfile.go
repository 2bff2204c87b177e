// Package kernelfile reads the small files in which the kernel tells about
// itself: those of /proc (proc(5)) and of control groups (cgroups(7)).
//
// They are made when they are read and never keep a reader waiting, so it
// takes a third of the system calls of package os, whose files can wait. Names
// are looked up below a directory that is already open, as openat(2) does, so
// that files of one process are never those of another that got its number.
//
// It imports the standard library and golang.org/x/sys only, and never writes.
package kernelfile

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// Path, in the place of a directory, says that the name is a path.
const Path = unix.AT_FDCWD

// Most files are shorter than this many bytes; the room grows where one is
// not, and is used again.
const usual = 16 << 10

var room = sync.Pool{New: func() any { b := make([]byte, usual); return &b }}

// Open opens a directory, to look things up below it. It is closed by
// unix.Close.
func Open(dir int, name string) (int, error) {
	return open(dir, name, unix.O_PATH|unix.O_DIRECTORY)
}

// Read reads the whole of a file.
func Read(dir int, name string) (string, error) {
	fd, err := open(dir, name, unix.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	buffer := room.Get().(*[]byte)
	defer room.Put(buffer)
	for n := 0; ; {
		if n == len(*buffer) {
			*buffer = append(*buffer, make([]byte, n)...)
		}
		// A short read is not the end: one read gives whole records only.
		got, err := again(func() (int, error) { return unix.Read(fd, (*buffer)[n:]) })
		if err != nil {
			return "", fmt.Errorf("read %s: %w", name, err)
		}
		if got == 0 {
			return string((*buffer)[:n]), nil
		}
		n += got
	}
}

// Link reads a symbolic link. One that is longer than a page gives
// ENAMETOOLONG.
func Link(dir int, name string) (string, error) {
	buffer := room.Get().(*[]byte)
	defer room.Put(buffer)
	n, err := again(func() (int, error) { return unix.Readlinkat(dir, name, *buffer) })
	if err != nil {
		return "", fmt.Errorf("readlink %s: %w", name, err)
	}
	return string((*buffer)[:n]), nil
}

// Names lists a directory, in the kernel's order.
func Names(dir int, name string) ([]string, error) {
	fd, err := open(dir, name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	buffer := room.Get().(*[]byte)
	defer room.Put(buffer)
	var names []string
	for {
		n, err := again(func() (int, error) { return unix.ReadDirent(fd, *buffer) })
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", name, err)
		}
		if n == 0 {
			return names, nil
		}
		_, _, names = unix.ParseDirent((*buffer)[:n], -1, names)
	}
}

func open(dir int, name string, flags int) (int, error) {
	fd, err := again(func() (int, error) { return unix.Openat(dir, name, flags|unix.O_CLOEXEC, 0) })
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", name, err)
	}
	return fd, nil
}

// again repeats a call that a signal interrupted (signal(7)).
func again(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); err != unix.EINTR {
			return n, err
		}
	}
}

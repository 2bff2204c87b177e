package main

import (
	"bytes"

	"golang.org/x/sys/unix"
)

// maxCommandLine is more than "init" and the longest path of a socket, which
// is 107 bytes (unix(7)).
const maxCommandLine = 256

// connectControl makes the control socket descriptor 3 where the engine could
// not pass it: Docker hands no descriptor to a container. Which way it is, the
// engine says by an argument; nothing of the host can be reached by a wrong
// one, since the path is looked up inside the sandbox.
func connectControl() error {
	path, err := socketArgument()
	if err != nil || path == "" {
		return err
	}
	// A descriptor that the engine leaked must not be taken for the socket.
	if err := unix.CloseRange(controlFD, ^uint(0)>>1, 0); err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return err
	}
	if fd == controlFD {
		return nil
	}
	// One of 0, 1 and 2 was not open, and is about to be replaced.
	return unix.Dup3(fd, controlFD, unix.O_CLOEXEC)
}

// socketArgument gives the first argument, or "" without one. Package os,
// which knows the arguments, is not linked (see package initproto); the kernel
// knows them too (proc(5), /proc/PID/cmdline).
func socketArgument() (string, error) {
	fd, err := unix.Open("/proc/self/cmdline", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	var line [maxCommandLine]byte
	n, err := unix.Read(fd, line[:])
	if err != nil {
		return "", err
	}
	switch arguments := bytes.Split(bytes.TrimSuffix(line[:n], []byte{0}), []byte{0}); {
	case n == len(line), len(arguments) > 2:
		return "", unix.E2BIG
	case len(arguments) == 2:
		return string(arguments[1]), nil
	}
	return "", nil
}

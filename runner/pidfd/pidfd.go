// Package pidfd holds on to a process by a descriptor (pidfd_open(2)), which
// unlike its number never comes to mean another.
//
// It imports the standard library and golang.org/x/sys only. It never starts a
// process, and looks for none: what it is given, it holds, ends or waits for.
package pidfd

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Open gives a descriptor of a process, for the runtime's poller to wait on.
func Open(pid int) (*os.File, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("open pidfd of %d: %w", pid, err)
	}
	return os.NewFile(uintptr(fd), "pidfd"), nil
}

// Ended says whether the process has ended, or its descriptor is closed.
func Ended(f *os.File) bool {
	control, err := f.SyscallConn()
	ended := true
	if err == nil {
		_ = control.Control(func(fd uintptr) { ended = readable(fd) })
	}
	return ended
}

// Wait returns nil once the process has ended, or an error when its descriptor
// is closed or its read deadline passes before.
func Wait(f *os.File) error {
	control, err := f.SyscallConn()
	if err == nil {
		err = control.Read(readable)
	}
	if err != nil {
		return fmt.Errorf("wait for process: %w", err)
	}
	return nil
}

func readable(fd uintptr) bool {
	ready, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return err == nil && ready > 0
}

// Kill sends SIGKILL. A process that has ended already, or whose descriptor is
// closed, is left alone.
func Kill(f *os.File) {
	if control, err := f.SyscallConn(); err == nil {
		// The only other error is ESRCH: it has ended.
		_ = control.Control(func(fd uintptr) { _ = unix.PidfdSendSignal(int(fd), unix.SIGKILL, nil, 0) })
	}
}

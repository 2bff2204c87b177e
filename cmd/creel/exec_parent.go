package main

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/cmd/internal/program"
)

// dieWithParent has the kernel end creel, and so the sandbox, when the process
// that started it ends, however that does: an agent that is killed cannot end
// its commands itself. It is the thread that started creel that counts
// (PR_SET_PDEATHSIG, prctl(2)).
func dieWithParent() error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("ask to die with parent: %w", err)
	}
	// One that has ended already is nobody's parent, and nothing tells of it but
	// what it read: the kernel closes that first (exit(3), pipe(7)).
	if unread() {
		return program.Hinted(errors.New("whoever started creel has ended: nobody reads its output"), "leave --die-with-parent out, or read what creel prints")
	}
	return nil
}

// unread says that stdout is a pipe or a socket whose other end is closed.
func unread() bool {
	stdout := []unix.PollFd{{Fd: int32(unix.Stdout)}}
	n, err := unix.Poll(stdout, 0)
	return err == nil && n > 0 && stdout[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
}

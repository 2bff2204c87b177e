package main

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/initproto"
)

// reap waits for every process of the sandbox, the orphans too, until the
// command has ended; then it reports that.
func (s *sandbox) reap() error {
	status, usage, err := waitFor(s.child.pid)
	if err != nil {
		return err
	}
	if s.terminal != nil {
		// Whoever still holds the terminal would keep it from draining, and
		// is to end with the command anyway.
		killTheRest()
		<-s.terminal.drained
	}
	exit := initproto.Exit{
		UserCPU:   time.Duration(usage.Utime.Nano()).Truncate(time.Microsecond),
		SystemCPU: time.Duration(usage.Stime.Nano()).Truncate(time.Microsecond),
		MaxRSS:    usage.Maxrss << 10, // KiB: getrusage(2)
	}
	if status.Signaled() {
		exit.Signal = int(status.Signal())
	} else {
		exit.Code = status.ExitStatus()
	}
	if err := s.session.Exit(exit); err != nil || !s.linger {
		return err
	}
	reapAll() // until then creeld ends the sandbox, or it ends by itself
	return nil
}

// waitFor reaps until pid is among the reaped.
func waitFor(pid int) (status unix.WaitStatus, usage unix.Rusage, err error) {
	for {
		got, err := unix.Wait4(-1, &status, unix.WALL, &usage)
		if got == pid || err != nil && err != unix.EINTR {
			return status, usage, err
		}
	}
}

// killTheRest ends every other process of the PID namespace and returns when
// none is left. One kill is enough: a fork that it interrupts does not happen.
func killTheRest() {
	unix.Kill(-1, unix.SIGKILL)
	reapAll()
}

// reapAll waits until no other process is left in the PID namespace.
func reapAll() {
	for {
		if _, err := unix.Wait4(-1, nil, unix.WALL, nil); err != nil && err != unix.EINTR {
			return // ECHILD
		}
	}
}

package main

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/initproto"
)

// child is PID 1's hold on the process that becomes the command.
type child struct {
	pid   int
	pidfd int // the number alone might be another process's by now
	// verdicts is our end of the pipe that the child writes its verdicts to. Its
	// end is closed by its execve(2), and that is what says it happened.
	verdicts int
}

// fork starts the child. It shares no memory with PID 1, and from its first
// instruction on runs become and nothing else.
func fork(l *launch) (child, error) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		return child{}, err
	}
	l.verdicts = uintptr(pipe[1])
	pid, pidfd, errno := clone(l)
	unix.Close(pipe[1]) // a close that fails has closed (close(2))
	if errno != 0 {
		unix.Close(pipe[0])
		return child{}, errno
	}
	return child{pid: pid, pidfd: pidfd, verdicts: pipe[0]}, nil
}

// clone is the call that returns twice, and only once to its caller. The child
// has this one thread: none that could grow a stack, collect garbage or hold a
// lock for it, so nothing it runs may ask for any of them (go:nosplit, and no
// function that is not; go:norace). Its signals need no care, unlike in
// syscall.ForkExec: dropSignals left no handler of the Go runtime.
//
//go:nosplit
//go:norace
func clone(l *launch) (pid, pidfd int, errno unix.Errno) {
	var fd int32
	r, _, errno := unix.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD)|unix.CLONE_PIDFD,
		0, uintptr(unsafe.Pointer(&fd)), 0, 0, 0)
	if r == 0 && errno == 0 {
		l.become()
	}
	return int(r), int(fd), errno
}

// awaitExec waits until the child is the command. Only an end of file after
// the word that it is about to be means that; an end of file without it means
// the child is lost.
func (c child) awaitExec() error {
	if err := c.awaitEnd(); err != nil {
		return err
	}
	defer unix.Close(c.verdicts)
	var said [3 * unsafe.Sizeof(verdict{})]byte // one more than there can be
	n, err := unix.Read(c.verdicts, said[:])
	if err != nil {
		return fail(initproto.StepChild, err)
	}
	executing := false
	for at := 0; at+int(unsafe.Sizeof(verdict{})) <= n; at += int(unsafe.Sizeof(verdict{})) {
		v := *(*verdict)(unsafe.Pointer(&said[at]))
		if v.errno != 0 {
			return &initproto.StartError{Step: initproto.Step(v.step), Errno: unix.Errno(v.errno)}
		}
		executing = true
	}
	if !executing {
		return fail(initproto.StepChild, unix.ESRCH)
	}
	return nil
}

// awaitEnd waits for the end of the child's verdicts, but no longer than creeld
// is there: entering a directory or executing a file can hang on a dead file
// system. Asking for no event leaves POLLHUP (poll(2)): what the child writes
// is read when all of it is there.
func (c child) awaitEnd() error {
	fds := []unix.PollFd{
		{Fd: int32(c.verdicts)},
		{Fd: controlFD, Events: unix.POLLRDHUP},
	}
	for {
		if _, err := unix.Poll(fds, -1); err != nil && err != unix.EINTR {
			return fail(initproto.StepChild, err)
		}
		switch {
		case fds[1].Revents != 0:
			return initproto.ErrGone
		case fds[0].Revents != 0:
			return nil
		}
	}
}

// signal sends a signal to the command; one that has just ended is no error.
func (c child) signal(n int) {
	unix.PidfdSendSignal(c.pidfd, unix.Signal(n), nil, 0)
}

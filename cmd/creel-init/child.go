package main

import (
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/initproto"
)

// child is PID 1's hold on the process that waits and becomes the command.
type child struct {
	pid   int
	pidfd int // the number alone might be another process's by now
	fd    int // our end of the socket between the two
	conn  *initproto.Conn
}

// startChild starts a child of this same program, in a session of its own so
// that it can take a controlling terminal, with an empty environment. Its end
// of the socket is closed by its execve(2), and that is what says it happened.
func startChild() (child, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return child{}, err
	}
	c := child{fd: pair[0], conn: initproto.NewConn(pair[0])}
	c.pid, err = syscall.ForkExec("/proc/self/exe", []string{"creel-init", "command"}, &syscall.ProcAttr{
		Files: []uintptr{0, 1, 2, uintptr(pair[1])},
		Sys:   &syscall.SysProcAttr{Setsid: true, PidFD: &c.pidfd},
	})
	if err != nil {
		return child{}, err
	}
	return c, unix.Close(pair[1])
}

// send passes the job on.
func (c child) send(body []byte, stdio []int) error {
	f := initproto.Frame{Type: initproto.TypeJob, Body: body, FDs: stdio}
	if c.conn.Send(f) != nil {
		return fail(initproto.StepChild, unix.ESRCH)
	}
	return nil
}

func (c child) awaitHello() error {
	f, err := c.conn.Receive(initproto.Want{Type: initproto.TypeHello})
	if err != nil {
		return err
	}
	_, err = initproto.DecodeHello(f.Body)
	return err
}

// awaitExec waits until the child is the command. Only an end of file after
// Started means that; an end of file without it means the child is lost.
func (c child) awaitExec() error {
	wants := []initproto.Want{{Type: initproto.TypeStarted}, {Type: initproto.TypeFailed}}
	executing := false
	for {
		if err := c.awaitInput(); err != nil {
			return err
		}
		f, err := c.conn.Receive(wants...)
		switch {
		case err == initproto.ErrGone && executing:
			return unix.Close(c.fd)
		case err != nil:
			return fail(initproto.StepChild, unix.ESRCH)
		case f.Type == initproto.TypeStarted:
			executing, wants = true, wants[1:]
		default:
			failed, err := initproto.DecodeFailed(f.Body)
			if err != nil {
				return fail(initproto.StepChild, err)
			}
			return &initproto.StartError{Step: failed.Step, Errno: failed.Errno}
		}
	}
}

// awaitInput waits for the child, but no longer than creeld is there: entering
// a directory or executing a file can hang on a dead file system.
func (c child) awaitInput() error {
	fds := []unix.PollFd{
		{Fd: int32(c.fd), Events: unix.POLLIN},
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

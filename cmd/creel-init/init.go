package main

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/initproto"
	"github.com/creel-sandbox/creel/runner/registers"
)

// sandbox is what PID 1 knows. Its main goroutine takes the job and sees it to
// its end; control is the only other one, until there is a terminal.
type sandbox struct {
	session  *initproto.Init
	files    unix.Rlimit // RLIMIT_NOFILE, the soft one the command's
	child    child
	linger   bool      // the sandbox outlives the command
	terminal *terminal // nil without one

	started int // eventfd(2), written to when the command runs: control waits for it
}

// runInit is PID 1. It returns when the command's end is reported and nothing
// is to outlive it, or when there will be no command; its return ends the
// sandbox.
func runInit() error {
	s := &sandbox{session: initproto.NewInit(controlFD)}
	err := s.run()
	var failed *initproto.StartError
	if errors.As(err, &failed) {
		s.session.Fail(failed.Step, failed.Errno) // the sandbox ends whether or not it arrives
	}
	return err
}

// fail says in which step a system call went wrong.
func fail(step initproto.Step, err error) error {
	if err == nil {
		return nil
	}
	return &initproto.StartError{Step: step, Errno: errnoOf(err)}
}

func (s *sandbox) run() error {
	for _, step := range []func() error{
		s.prepare,
		s.session.Hello,
		s.setUp,
		s.employ,
		s.reap,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// prepare must come first: nothing else runs in the sandbox yet.
func (s *sandbox) prepare() error {
	err := connectControl()
	if err == nil {
		err = harden()
	}
	if err == nil {
		s.files, err = fileLimit()
	}
	if err == nil {
		s.started, err = unix.Eventfd(0, unix.EFD_CLOEXEC)
	}
	if err != nil {
		return fail(initproto.StepPrepare, err)
	}
	go s.control()
	return nil
}

// setUp opens and hands over the listeners, and keeps none: what accepts is
// creeld, and the command has nothing to find. What creeld reads in /proc after
// Ready stays so until the job.
func (s *sandbox) setUp() error {
	setup, err := s.session.Setup()
	if err != nil {
		return err
	}
	listeners, err := listen(setup.Listen)
	if err != nil {
		return fail(initproto.StepListen, err)
	}
	err = withHardFileLimit(s.files, func() error { return s.session.Listeners(listeners) })
	initproto.CloseAll(listeners)
	if err != nil {
		return err
	}
	return s.session.Ready()
}

// employ takes the one job, forks the child for it and waits until that is the
// command.
func (s *sandbox) employ() error {
	job, frame, err := s.session.Job()
	if err != nil {
		return err
	}
	defer clear(frame.Body) // it holds the command's secrets
	if err := makeBlocking(frame.FDs); err != nil {
		return fail(initproto.StepStdio, err)
	}
	s.linger = job.Linger
	stdio := frame.FDs
	if job.TTY {
		if s.terminal, stdio, err = openTerminal(job.Rows, job.Cols, frame.FDs); err != nil {
			return fail(initproto.StepTerminal, err)
		}
	}
	launch := newLaunch(job, stdio, s.files)
	registers.Clear()
	defer launch.forget()
	s.child, err = fork(launch)
	// Ours would keep the command's readers from seeing an end of file, and a
	// terminal from being hung up.
	initproto.CloseAll(stdio)
	if err != nil {
		return fail(initproto.StepChild, err)
	}
	if err := s.child.awaitExec(); err != nil {
		return err
	}
	if err := s.session.Started(); err != nil {
		return err
	}
	one := binary.NativeEndian.AppendUint64(nil, 1)
	_, err = unix.Write(s.started, one)
	return err
}

// makeBlocking gives pipes the mode that programs expect of their stdio; one
// made by a Go program comes non-blocking.
func makeBlocking(pipes []int) error {
	for _, fd := range pipes {
		if err := unix.SetNonblock(fd, false); err != nil {
			return err
		}
	}
	return nil
}

// control waits until the command runs, and then passes on signals and sizes
// until creeld is gone or says what it must not: both end the sandbox, whatever
// the main goroutine does. It waits in a read(2) from before the job, so that no
// thread need be made when a command has used up the limit of processes.
func (s *sandbox) control() {
	var counter [8]byte
	for {
		if _, err := unix.Read(s.started, counter[:]); err != unix.EINTR {
			break
		}
	}
	exit(s.forward())
}

func (s *sandbox) forward() error {
	for {
		signal, size, err := s.session.Control()
		if err != nil {
			return err
		}
		if signal != nil {
			s.child.signal(signal.Number)
		}
		if size != nil {
			if err := s.terminal.resize(size.Rows, size.Cols); err != nil {
				return err
			}
		}
	}
}

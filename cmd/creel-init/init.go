package main

import (
	"errors"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/initproto"
)

// sandbox is what PID 1 knows. Its main goroutine talks to creeld; reap is the
// only other one, until there is a terminal.
type sandbox struct {
	session  *initproto.Init
	child    child
	terminal *terminal // nil without one

	employed atomic.Bool   // the job was received
	started  chan struct{} // closed when Started was sent
}

// runInit is PID 1. It returns when the command's end is reported, when there
// will be no command, or when creeld is gone; its return ends the sandbox.
func runInit() error {
	s := &sandbox{
		session: initproto.NewInit(controlFD),
		started: make(chan struct{}),
	}
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
		s.session.Hello, // before the child starts: creeld answers meanwhile
		s.startChild,
		s.setUp,
		s.employ,
		s.forward,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// prepare must come first: nothing else runs in the sandbox yet.
func (s *sandbox) prepare() error {
	if err := connectControl(); err != nil {
		return fail(initproto.StepPrepare, err)
	}
	return fail(initproto.StepPrepare, harden())
}

func (s *sandbox) startChild() (err error) {
	if s.child, err = startChild(); err != nil {
		return fail(initproto.StepChild, err)
	}
	// After the child is there, whose limit is the command's.
	if err := raiseFileLimit(); err != nil {
		return fail(initproto.StepPrepare, err)
	}
	go s.reap()
	return nil
}

// setUp opens and hands over the listeners, and keeps none: what accepts is
// creeld, and the command has nothing to find. Ready waits for the child, so
// that what creeld then reads in /proc is the final state of both processes.
func (s *sandbox) setUp() error {
	setup, err := s.session.Setup()
	if err != nil {
		return err
	}
	listeners, err := listen(setup.Listen)
	if err != nil {
		return fail(initproto.StepListen, err)
	}
	err = s.session.Listeners(listeners)
	initproto.CloseAll(listeners)
	if err != nil {
		return err
	}
	if err := s.child.awaitHello(); err != nil {
		return fail(initproto.StepChild, err)
	}
	return s.session.Ready(initproto.Ready{Child: s.child.pid})
}

// employ takes the one job, passes it to the child and waits until the child
// is the command.
func (s *sandbox) employ() error {
	job, frame, err := s.session.Job()
	if err != nil {
		return err
	}
	s.employed.Store(true)
	defer clear(frame.Body) // it holds the command's secrets
	if err := makeBlocking(frame.FDs); err != nil {
		return fail(initproto.StepStdio, err)
	}
	stdio := frame.FDs
	if job.TTY {
		if s.terminal, stdio, err = openTerminal(job.Rows, job.Cols, frame.FDs); err != nil {
			return fail(initproto.StepTerminal, err)
		}
	}
	err = s.child.send(frame.Body, stdio)
	// Ours would keep the command's readers from seeing an end of file, and a
	// terminal from being hung up.
	initproto.CloseAll(stdio)
	if err != nil {
		return err
	}
	if err := s.child.awaitExec(); err != nil {
		return err
	}
	if err := s.session.Started(); err != nil {
		return err
	}
	close(s.started)
	return nil
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

// forward passes on signals and sizes until creeld is gone, or until reap has
// reported the end and shut the socket.
func (s *sandbox) forward() error {
	for {
		signal, size, err := s.session.Control()
		if errors.Is(err, initproto.ErrGone) || errors.Is(err, initproto.ErrOrder) {
			return nil
		}
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

// hangUp wakes the main goroutine, which then ends the sandbox. What was sent
// before can still be read by creeld.
func hangUp() { unix.Shutdown(controlFD, unix.SHUT_RDWR) }

package initproto

import (
	"sync"
	"syscall"
)

// Init is the sandbox's end. Every method belongs to one place in the
// drawing; called, or answered, anywhere else it gives a Violation. Exit and
// Fail may be called from another goroutine than the rest.
type Init struct {
	conn   *Conn
	tty    bool
	linger bool

	mu    sync.Mutex
	state initState
}

type initState uint8

const (
	initNew       initState = iota
	initGreeted             // Hello sent, Setup awaited
	initSetUp               // Setup received
	initListening           // Listeners sent
	initReady               // Ready sent, Job awaited
	initEmployed            // Job received: there is never another
	initRunning             // Started sent
	initLingering           // Exit sent of a job that lingers: nothing but the end is awaited
	initOver                // Exit or Failed sent, or the session failed
)

// NewInit gives the sandbox's end of a session on a blocking socket.
func NewInit(fd int) *Init { return &Init{conn: NewConn(fd)} }

// move changes the state, and refuses to from any other than the given one.
func (i *Init) move(from, to initState) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.state != from {
		return ErrOrder
	}
	i.state = to
	return nil
}

// over ends the session for good.
func (i *Init) over(err error) error {
	if err != nil {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.state = initOver
	}
	return err
}

// Hello sends the first frame.
func (i *Init) Hello() error {
	if err := i.move(initNew, initGreeted); err != nil {
		return err
	}
	return i.over(i.conn.Send(Frame{Type: TypeHello, Body: Hello{Version}.Encode()}))
}

// Setup waits for what is to be made.
func (i *Init) Setup() (Setup, error) {
	if err := i.move(initGreeted, initSetUp); err != nil {
		return Setup{}, err
	}
	f, err := i.conn.Receive(Want{Type: TypeSetup})
	if err != nil {
		return Setup{}, i.over(err)
	}
	s, err := DecodeSetup(f.Body)
	return s, i.over(err)
}

// Listeners hands over a listener for each address of the Setup, in its order.
// They stay the caller's, to be closed before Ready.
func (i *Init) Listeners(fds []int) error {
	if err := i.move(initSetUp, initListening); err != nil {
		return err
	}
	return i.over(i.conn.Send(Frame{Type: TypeListeners, FDs: fds}))
}

// Ready says that the posture can be read now.
func (i *Init) Ready() error {
	if err := i.move(initListening, initReady); err != nil {
		return err
	}
	return i.over(i.conn.Send(Frame{Type: TypeReady}))
}

// Job waits for the one job and gives it with the frame it came in, whose
// memory it shares. The frame's body holds the command's secrets and its
// descriptors are the caller's: clear the one and close the others.
func (i *Init) Job() (Job, Frame, error) {
	if err := i.move(initReady, initEmployed); err != nil {
		return Job{}, Frame{}, err
	}
	f, err := i.conn.Receive(Want{TypeJob, jobFDs})
	if err != nil {
		return Job{}, Frame{}, i.over(err)
	}
	job, err := DecodeJob(f.Body)
	if err != nil {
		CloseAll(f.FDs)
		clear(f.Body)
		return Job{}, Frame{}, i.over(err)
	}
	i.tty, i.linger = job.TTY, job.Linger
	return job, f, nil
}

// Started says that the command runs.
func (i *Init) Started() error {
	if err := i.move(initEmployed, initRunning); err != nil {
		return err
	}
	return i.over(i.conn.Send(Frame{Type: TypeStarted}))
}

// Control waits for the next Signal or Resize of a running command: exactly
// one of the two is not nil. A Resize without a terminal is refused. After the
// Exit of a job that lingers it waits for the end of the session all the same;
// what was sent before it came is for a command that is no more.
func (i *Init) Control() (*Signal, *Resize, error) {
	if err := i.move(initRunning, initRunning); err != nil && i.move(initLingering, initLingering) != nil {
		return nil, nil, err
	}
	wants := []Want{{Type: TypeSignal}, {Type: TypeResize}}
	if !i.tty {
		wants = wants[:1]
	}
	f, err := i.conn.Receive(wants...)
	if err != nil {
		return nil, nil, i.over(err)
	}
	if f.Type == TypeSignal {
		s, err := DecodeSignal(f.Body)
		return &s, nil, i.over(err)
	}
	r, err := DecodeResize(f.Body)
	return nil, &r, i.over(err)
}

// Exit reports the end of the command; it is the last frame. No Control gives
// ErrOrder before it is sent: whoever then ends the process would lose it.
func (i *Init) Exit(e Exit) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.state != initRunning {
		return ErrOrder
	}
	i.state = initOver
	if i.linger {
		i.state = initLingering
	}
	return i.conn.Send(Frame{Type: TypeExit, Body: e.Encode()})
}

// Fail reports, at any place before Started, that there will be no command;
// it is the last frame.
func (i *Init) Fail(step Step, errno syscall.Errno) error {
	i.mu.Lock()
	state := i.state
	i.state = initOver
	i.mu.Unlock()
	if state >= initRunning {
		return ErrOrder
	}
	return i.conn.Send(Frame{Type: TypeFailed, Body: Failed{step, errno}.Encode()})
}

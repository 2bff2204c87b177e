package initproto

import (
	"context"
	"errors"
	"net/netip"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// sendTimeout bounds how long a Signal or Resize waits for an init that does
// not read. A sound init reads them at once.
const sendTimeout = 5 * time.Second

// Supervisor is creeld's end of one session. Handshake, Start and Wait are
// called once each, in this order; Signal and Resize any number of times while
// Wait waits; Close at any time, from any goroutine. Whatever goes wrong with
// the other end ends the session and closes the socket, on which a sound init
// ends its sandbox. The caller still makes sure that the sandbox dies: the
// other end may not be sound.
type Supervisor struct {
	// Memory gives what Start encodes the job in, which holds the command's
	// secrets. NewSupervisor sets it to the heap.
	Memory func(size int) (Memory, error)

	sock Socket
	conn *Conn

	mu     sync.Mutex
	state  supervisorState
	tty    bool
	linger bool // the sandbox outlives its command

	sending sync.Mutex // one frame at a time
}

// Memory is what one job is encoded in.
type Memory struct {
	Bytes []byte
	// Written is called when the job is in Bytes, and Free when it was sent.
	Written, Free func()
}

type supervisorState uint8

const (
	supervisorNew      supervisorState = iota
	supervisorShaking                  // inside Handshake
	supervisorReady                    // posture is compared, Start awaited
	supervisorStarting                 // inside Start
	supervisorRunning                  // Started received
	supervisorWaiting                  // inside Wait
	supervisorOver
)

// NewSupervisor takes over the socket, on which nothing was read or sent.
func NewSupervisor(sock Socket) (*Supervisor, error) {
	raw, err := sock.SyscallConn()
	if err != nil {
		return nil, wrap("use socket", err)
	}
	return &Supervisor{Memory: heap, sock: sock, conn: &Conn{polled{raw}}}, nil
}

// move changes the state, and refuses to from any other than the given one.
func (s *Supervisor) move(from, to supervisorState) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != from {
		return ErrOrder
	}
	s.state = to
	return nil
}

// Close ends the session; whoever waits gets an error. The init ends its
// sandbox when it sees the end of file.
func (s *Supervisor) Close() error {
	s.mu.Lock()
	s.state = supervisorOver
	s.mu.Unlock()
	return s.sock.Close()
}

// fail ends the session because of err, or because ctx was the reason for it.
func (s *Supervisor) fail(ctx context.Context, err error) error {
	s.Close() // err is the news, whatever close says
	if cause := context.Cause(ctx); cause != nil {
		return wrap("talk to init", cause)
	}
	return err
}

// bound makes the socket give up as soon as ctx is done; the returned function
// ends that, and says whether ctx was done before.
func (s *Supervisor) bound(ctx context.Context) func() bool {
	return context.AfterFunc(ctx, func() { s.sock.SetDeadline(time.Unix(1, 0)) })
}

// Handshake takes the init from its Hello to Ready and gives its listeners,
// one blocking, close-on-exec descriptor for each address of setup and in its
// order. They are the caller's. The error is a *StartError if the init said
// itself that it failed.
func (s *Supervisor) Handshake(ctx context.Context, setup Setup) ([]int, error) {
	body, err := setup.Encode()
	if err != nil {
		return nil, err
	}
	if err := s.move(supervisorNew, supervisorShaking); err != nil {
		return nil, err
	}
	unbound := s.bound(ctx)
	listeners, err := s.shake(setup, body)
	if !unbound() && err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		err = s.move(supervisorShaking, supervisorReady)
	}
	if err != nil {
		CloseAll(listeners)
		return nil, s.fail(ctx, err)
	}
	return listeners, nil
}

func (s *Supervisor) shake(setup Setup, body []byte) ([]int, error) {
	f, err := s.receive(Want{Type: TypeHello})
	if err != nil {
		return nil, err
	}
	hello, err := DecodeHello(f.Body)
	if err != nil {
		return nil, err
	}
	if hello.Version != Version {
		return nil, ErrVersion
	}
	if err := s.conn.Send(Frame{Type: TypeSetup, Body: body}); err != nil {
		return nil, err
	}
	listeners, err := s.listeners(setup.Listen)
	if err != nil {
		return listeners, err
	}
	if f, err = s.receive(Want{Type: TypeReady}); err != nil {
		return listeners, err
	}
	if len(f.Body) != 0 {
		err = ErrMalformed
	}
	return listeners, err
}

// listeners takes a listener for each address; with an error too they are the
// caller's to close.
func (s *Supervisor) listeners(addresses []netip.AddrPort) ([]int, error) {
	f, err := s.receive(Want{TypeListeners, len(addresses)})
	if err != nil {
		return nil, err
	}
	if len(f.Body) != 0 {
		return f.FDs, ErrMalformed
	}
	for i, fd := range f.FDs {
		if !isListener(fd, addresses[i]) {
			return f.FDs, ErrListener
		}
	}
	return f.FDs, nil
}

// receive takes a wanted frame, or the init's word that it failed, which it
// gives as a *StartError.
func (s *Supervisor) receive(want Want) (Frame, error) {
	f, err := s.conn.Receive(want, Want{Type: TypeFailed})
	if err != nil || f.Type != TypeFailed {
		return f, err
	}
	failed, err := DecodeFailed(f.Body)
	if err != nil {
		return Frame{}, err
	}
	return Frame{}, &StartError{failed.Step, failed.Errno}
}

// Start sends the one job with its stdin, stdout and stderr, which stay the
// caller's, and returns when execve(2) has succeeded. The error is a
// *StartError if the init said itself that the command could not be started,
// and ErrJob or that of Memory, with nothing sent and the session as it was,
// for a job that cannot be encoded, such as one with a NUL byte.
func (s *Supervisor) Start(ctx context.Context, job Job, stdio [3]syscall.Conn) error {
	frame, free, err := s.encode(job)
	if err != nil {
		return err
	}
	fds, err := numbers(stdio)
	if err == nil {
		err = s.move(supervisorReady, supervisorStarting)
	}
	if err != nil {
		free()
		return err
	}
	s.mu.Lock()
	s.tty, s.linger = job.TTY, job.Linger
	s.mu.Unlock()
	unbound := s.bound(ctx)
	err = s.conn.sendWhole(frame, fds)
	free()
	runtime.KeepAlive(stdio)
	if err == nil {
		err = s.started()
	}
	if !unbound() && err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		err = s.move(supervisorStarting, supervisorRunning)
	}
	if err != nil {
		return s.fail(ctx, err)
	}
	return nil
}

// heap is the memory of a session that is given no other; it is cleared.
func heap(size int) (Memory, error) {
	buffer := make([]byte, size)
	return Memory{Bytes: buffer, Written: func() {}, Free: func() { clear(buffer) }}, nil
}

// encode gives the frame of a job, and what to call when it is sent.
func (s *Supervisor) encode(job Job) ([]byte, func(), error) {
	size, err := job.size()
	if err != nil {
		return nil, nil, err
	}
	memory, err := s.Memory(headerSize + size)
	if err != nil {
		return nil, nil, wrap("encode job", err)
	}
	frame := job.append(appendHeader(memory.Bytes[:0], TypeJob, size))
	memory.Written()
	return frame, memory.Free, nil
}

func (s *Supervisor) started() error {
	f, err := s.receive(Want{Type: TypeStarted})
	if err == nil && len(f.Body) != 0 {
		err = ErrMalformed
	}
	return err
}

// numbers gives the descriptors without os.File.Fd, which would make the
// caller's pipes blocking.
func numbers(stdio [3]syscall.Conn) ([]int, error) {
	fds := make([]int, len(stdio))
	for i, c := range stdio {
		raw, err := c.SyscallConn()
		if err == nil {
			err = raw.Control(func(fd uintptr) { fds[i] = int(fd) })
		}
		if err != nil {
			return nil, wrap("use stdio", err)
		}
	}
	return fds, nil
}

// Wait waits for the command's end, without a time limit: Close ends it, with
// net.ErrClosed. The error is ErrGone when the sandbox ended without a report,
// as it does when it is killed as a whole. Once a job that lingers has ended
// without one, the session is over but for Close, which ends the sandbox.
func (s *Supervisor) Wait() (Exit, error) {
	if err := s.move(supervisorRunning, supervisorWaiting); err != nil {
		return Exit{}, err
	}
	f, err := s.conn.Receive(Want{Type: TypeExit})
	var exit Exit
	if err == nil {
		exit, err = DecodeExit(f.Body)
	}
	if err != nil {
		return Exit{}, s.fail(context.Background(), err)
	}
	s.mu.Lock()
	linger := s.linger && s.state == supervisorWaiting
	s.state = supervisorOver
	s.mu.Unlock()
	if !linger {
		s.Close() // the last frame was received: there is nothing a failed close could lose
	}
	return exit, nil
}

// Signal has signal n, 1 to 64, sent to the command's own process. It says
// ErrOrder or ErrGone when no command runs.
func (s *Supervisor) Signal(n int) error {
	if n < 1 || n > maxSignal {
		return ErrMalformed
	}
	return s.control(Frame{Type: TypeSignal, Body: Signal{n}.Encode()})
}

// Resize gives the terminal a new size in characters. It says ErrOrder when no
// command runs on a terminal.
func (s *Supervisor) Resize(rows, cols uint16) error {
	s.mu.Lock()
	tty := s.tty
	s.mu.Unlock()
	if !tty {
		return ErrOrder
	}
	return s.control(Frame{Type: TypeResize, Body: Resize{rows, cols}.Encode()})
}

func (s *Supervisor) control(f Frame) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	s.mu.Lock()
	state := s.state
	s.mu.Unlock()
	if state != supervisorRunning && state != supervisorWaiting {
		return ErrOrder
	}
	err := s.sock.SetWriteDeadline(time.Now().Add(sendTimeout))
	if err == nil {
		err = s.conn.Send(f)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
		return ErrGone // its Exit may still be unread: that is for Wait to find
	}
	return s.fail(context.Background(), err) // half a frame may be sent
}

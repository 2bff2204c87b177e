package initproto

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// session is both ends of a session.
type session struct {
	*Supervisor
	init *Init
	fd   int // of the sandbox's end
}

func newSession(t testing.TB) session {
	t.Helper()
	ours, theirs := socketPair(t)
	must(t, syscall.SetNonblock(ours, true))
	s, err := NewSupervisor(os.NewFile(uintptr(ours), "control"))
	must(t, err)
	t.Cleanup(func() {
		s.Close()
		syscall.Close(theirs)
	})
	return session{s, NewInit(theirs), theirs}
}

// beside runs the sandbox's side while the test runs the supervisor's.
func beside(f func() error) chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

// toReady takes both ends to where a job is awaited.
func (s session) toReady(t testing.TB) {
	t.Helper()
	must(t, s.init.Hello())
	done := beside(func() error {
		_, err := s.init.Setup()
		return errors.Join(err, s.init.Listeners(nil), s.init.Ready())
	})
	_, err := s.Handshake(soon(t), Setup{})
	must(t, err)
	must(t, <-done)
}

// toRunning takes both ends to where the command runs.
func (s session) toRunning(t testing.TB, job Job) {
	t.Helper()
	s.toReady(t)
	done := beside(func() error {
		_, f, err := s.init.Job()
		CloseAll(f.FDs)
		return errors.Join(err, s.init.Started())
	})
	must(t, s.Start(soon(t), job, stdio()))
	must(t, <-done)
}

// soon bounds what should take no time.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func stdio() [3]syscall.Conn { return [3]syscall.Conn{os.Stdin, os.Stdout, os.Stderr} }

func TestSessionRunsFromHelloToExit(t *testing.T) {
	s := newSession(t)
	s.toReady(t)
	done := beside(func() error {
		job, f, err := s.init.Job()
		if len(f.FDs) != 3 || !bytes.Equal(job.Argv[3], fullJob.Argv[3]) || !job.TTY {
			return errors.New("another job")
		}
		CloseAll(f.FDs)
		if err := errors.Join(err, s.init.Started()); err != nil {
			return err
		}
		signal, _, err := s.init.Control()
		if err != nil || signal.Number != 10 {
			return errors.Join(err, errors.New("another signal"))
		}
		_, size, err := s.init.Control()
		if err != nil || *size != (Resize{3, 4}) {
			return errors.Join(err, errors.New("another size"))
		}
		return s.init.Exit(Exit{Code: 9, MaxRSS: 5})
	})
	must(t, s.Start(soon(t), fullJob, stdio()))
	must(t, s.Signal(10))
	must(t, s.Resize(3, 4))
	exit, err := s.Wait()
	if err != nil || exit != (Exit{Code: 9, MaxRSS: 5}) {
		t.Errorf("got %+v, %v", exit, err)
	}
	must(t, <-done)
}

func TestSupervisorRefusesCallsOutOfOrder(t *testing.T) {
	s := newSession(t)
	calls := map[string]func() error{
		"handshake": func() error { _, err := s.Handshake(soon(t), Setup{}); return err },
		"start":     func() error { return s.Start(soon(t), fullJob, stdio()) },
		"wait":      func() error { _, err := s.Wait(); return err },
		"signal":    func() error { return s.Signal(1) },
		"resize":    func() error { return s.Resize(1, 1) },
	}
	refused := func(place string, names ...string) {
		t.Helper()
		for _, name := range names {
			if err := calls[name](); err != ErrOrder {
				t.Errorf("%s %s: %v", name, place, err)
			}
		}
	}
	refused("at first", "start", "wait", "signal", "resize")
	s.toReady(t)
	refused("when ready", "handshake", "wait", "signal", "resize")
	done := beside(func() error {
		_, f, err := s.init.Job()
		CloseAll(f.FDs)
		return errors.Join(err, s.init.Started(), s.init.Exit(Exit{}))
	})
	must(t, s.Start(soon(t), fullJob, stdio()))
	must(t, <-done)
	refused("when running", "handshake", "start")
	_, err := s.Wait()
	must(t, err)
	refused("at the end", "handshake", "start", "wait", "signal", "resize")
}

func TestInitRefusesCallsOutOfOrder(t *testing.T) {
	s := newSession(t)
	calls := map[string]func() error{
		"hello":     s.init.Hello,
		"setup":     func() error { _, err := s.init.Setup(); return err },
		"listeners": func() error { return s.init.Listeners(nil) },
		"ready":     func() error { return s.init.Ready() },
		"job":       func() error { _, _, err := s.init.Job(); return err },
		"started":   s.init.Started,
		"control":   func() error { _, _, err := s.init.Control(); return err },
		"exit":      func() error { return s.init.Exit(Exit{}) },
	}
	refused := func(place string, except string) {
		t.Helper()
		for name, call := range calls {
			if name == except {
				continue
			}
			if err := call(); err != ErrOrder {
				t.Errorf("%s %s: %v", name, place, err)
			}
		}
	}
	refused("at first", "hello")
	s.toReady(t)
	refused("when ready", "job")
	s2 := newSession(t)
	s2.toRunning(t, fullJob)
	if _, _, err := s2.init.Job(); err != ErrOrder {
		t.Errorf("second job: %v", err)
	}
	if err := s2.init.Fail(StepExec, syscall.ENOENT); err != ErrOrder {
		t.Errorf("failure of a running command: %v", err)
	}
}

func TestInitsOwnFailureIsTyped(t *testing.T) {
	want := &StartError{StepListen, syscall.EADDRINUSE}
	s := newSession(t)
	must(t, s.init.Hello())
	must(t, s.init.Fail(want.Step, want.Errno))
	var got *StartError
	if _, err := s.Handshake(soon(t), Setup{}); !errors.As(err, &got) || *got != *want {
		t.Errorf("in the handshake: %v", err)
	}
	s = newSession(t)
	s.toReady(t)
	want = &StartError{StepExec, syscall.ENOENT}
	must(t, s.init.Fail(want.Step, want.Errno)) // before the job is even read
	if err := s.Start(soon(t), fullJob, stdio()); !errors.As(err, &got) || *got != *want {
		t.Errorf("at the start: %v", err)
	}
	if !errors.Is(got, syscall.ENOENT) || got.ExitCode() != 127 {
		t.Errorf("%v has exit code %d", got, got.ExitCode())
	}
}

// Only what was asked for is taken as a listener.
func TestListenersAreChecked(t *testing.T) {
	right, address := listener(t, syscall.SOCK_STREAM, true)
	wrongAddress, _ := listener(t, syscall.SOCK_STREAM, true)
	notListening, _ := listener(t, syscall.SOCK_STREAM, false)
	datagram, _ := listener(t, syscall.SOCK_DGRAM, false)
	null := nulls(t, 1)[0]
	defer CloseAll([]int{right, wrongAddress, notListening, datagram, null})
	for name, c := range map[string]struct {
		fds  []int
		want error
	}{
		"right":         {[]int{right}, nil},
		"wrong address": {[]int{wrongAddress}, ErrListener},
		"not listening": {[]int{notListening}, ErrListener},
		"datagram":      {[]int{datagram}, ErrListener},
		"no socket":     {[]int{null}, ErrListener},
		"none":          {nil, ErrDescriptors},
		"two":           {[]int{right, right}, ErrDescriptors},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSession(t)
			before := openFDs(t)
			must(t, s.init.Hello())
			done := beside(func() error {
				_, err := s.init.Setup()
				s.init.Listeners(c.fds)
				s.init.Ready() // may find the supervisor gone
				return err
			})
			got, err := s.Handshake(soon(t), Setup{[]netip.AddrPort{address}})
			must(t, <-done)
			if !errors.Is(err, c.want) || len(got) != 1 && c.want == nil {
				t.Errorf("got %d listeners, %v, want %v", len(got), err, c.want)
			}
			checkCloseOnExec(t, got)
			CloseAll(got)
			s.Close()
			if after := openFDs(t); after != before-1 {
				t.Errorf("%d descriptors before, %d after", before-1, after)
			}
		})
	}
}

func listener(t *testing.T, kind int, listen bool) (int, netip.AddrPort) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, kind|syscall.SOCK_CLOEXEC, 0)
	must(t, err)
	must(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	if listen {
		must(t, syscall.Listen(fd, 1))
	}
	name, err := syscall.Getsockname(fd)
	must(t, err)
	in := name.(*syscall.SockaddrInet4)
	return fd, netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port))
}

func TestSilentInitIsGivenUp(t *testing.T) {
	for name, f := range map[string]func(context.Context, session) error{
		"handshake": func(ctx context.Context, s session) error {
			_, err := s.Handshake(ctx, Setup{})
			return err
		},
		"start": func(ctx context.Context, s session) error {
			s.toReady(t)
			return s.Start(ctx, Job{Argv: [][]byte{bytes.Repeat([]byte("x"), MaxJob/2)}, Cwd: "/", Filter: fullJob.Filter}, stdio())
		},
	} {
		s := newSession(t)
		ctx, cancel := context.WithTimeout(soon(t), 50*time.Millisecond)
		defer cancel()
		if err := f(ctx, s); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := s.Wait(); err != ErrOrder {
			t.Errorf("%s: the session goes on: %v", name, err)
		}
	}
}

func TestCloseEndsAWait(t *testing.T) {
	s := newSession(t)
	s.toRunning(t, fullJob)
	done := beside(func() error { _, err := s.Wait(); return err })
	must(t, s.Close())
	if err := <-done; err == nil {
		t.Error("wait gave an exit")
	}
	if _, _, err := s.init.Control(); err != ErrGone {
		t.Errorf("the init sees %v", err)
	}
}

// A signal that finds the init just gone must not lose its report.
func TestExitIsReadAfterASignalCameTooLate(t *testing.T) {
	s := newSession(t)
	s.toRunning(t, fullJob)
	must(t, s.init.Exit(Exit{Code: 4}))
	must(t, syscall.Shutdown(s.fd, syscall.SHUT_RDWR))
	if err := s.Signal(15); err != ErrGone {
		t.Errorf("signal: %v", err)
	}
	if exit, err := s.Wait(); err != nil || exit.Code != 4 {
		t.Errorf("got %+v, %v", exit, err)
	}
}

// slowSend is a transport on which sending takes until it is released.
type slowSend struct {
	blocking
	entered, release chan struct{}
	sent             atomic.Bool
}

func (s *slowSend) send(p, oob []byte) (int, error) {
	close(s.entered)
	<-s.release
	s.sent.Store(true)
	return len(p), nil
}

// PID 1 ends when Control does, so that must not overtake the report.
func TestControlDoesNotEndBeforeTheExitIsSent(t *testing.T) {
	slow := &slowSend{entered: make(chan struct{}), release: make(chan struct{})}
	i := &Init{conn: &Conn{slow}, state: initRunning}
	done := beside(func() error { return i.Exit(Exit{}) })
	<-slow.entered
	time.AfterFunc(20*time.Millisecond, func() { close(slow.release) })
	if _, _, err := i.Control(); err != ErrOrder || !slow.sent.Load() {
		t.Errorf("control gave %v; exit sent: %v", err, slow.sent.Load())
	}
	must(t, <-done)
}

func TestResizeWithoutTerminalIsRefusedAtBothEnds(t *testing.T) {
	s := newSession(t)
	s.toRunning(t, Job{Argv: fullJob.Argv, Cwd: "/", Filter: fullJob.Filter})
	if err := s.Resize(1, 2); err != ErrOrder {
		t.Errorf("supervisor: %v", err)
	}
	must(t, s.Signal(1)) // the control
	if signal, _, err := s.init.Control(); err != nil || signal.Number != 1 {
		t.Errorf("init: %v", err)
	}
	must(t, s.conn.Send(Frame{Type: TypeResize, Body: Resize{1, 2}.Encode()}))
	if _, _, err := s.init.Control(); err != ErrUnexpected {
		t.Errorf("init: %v", err)
	}
}

func TestAnotherVersionIsRefused(t *testing.T) {
	s := newSession(t)
	must(t, s.init.conn.Send(Frame{Type: TypeHello, Body: Hello{Version + 1}.Encode()}))
	if _, err := s.Handshake(soon(t), Setup{}); err != ErrVersion {
		t.Errorf("got %v", err)
	}
}

func TestReadyWithABodyIsRefused(t *testing.T) {
	for body, want := range map[string]error{"": nil, "\x07": ErrMalformed} {
		s := newSession(t)
		done := beside(func() error {
			err := s.init.Hello()
			_, setup := s.init.Setup()
			return errors.Join(err, setup, s.init.Listeners(nil), s.init.conn.Send(Frame{Type: TypeReady, Body: []byte(body)}))
		})
		if _, err := s.Handshake(soon(t), Setup{}); err != want {
			t.Errorf("%q: got %v, want %v", body, err, want)
		}
		must(t, <-done)
	}
}

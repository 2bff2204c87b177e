package initproto

import (
	"syscall"
	"testing"
)

// A job that lingers leaves the socket open when its command has ended, and
// nothing more is said there.
func TestSessionThatLingersEndsWhenItIsClosed(t *testing.T) {
	for _, linger := range []bool{false, true} {
		s := newSession(t)
		s.toRunning(t, Job{Argv: [][]byte{[]byte("sh")}, Cwd: "/", Filter: fullJob.Filter, Linger: linger})
		must(t, s.init.Exit(Exit{Code: 7}))
		if exit, err := s.Wait(); err != nil || exit.Code != 7 {
			t.Errorf("linger %v: %+v, %v", linger, exit, err)
		}
		if err := s.init.Exit(Exit{}); err != ErrOrder {
			t.Errorf("linger %v: a second exit: %v", linger, err)
		}
		if err := s.Signal(15); err != ErrOrder {
			t.Errorf("linger %v: a signal after the end: %v", linger, err)
		}
		if _, err := s.Wait(); err != ErrOrder {
			t.Errorf("linger %v: a second wait: %v", linger, err)
		}
		must(t, syscall.SetNonblock(s.fd, true))
		_, err := syscall.Read(s.fd, make([]byte, 1))
		if open := err == syscall.EAGAIN; open != linger {
			t.Errorf("linger %v: the socket is open: %v, %v", linger, open, err)
		}
		s.Close()
		if n, err := syscall.Read(s.fd, make([]byte, 1)); n != 0 || err != nil {
			t.Errorf("linger %v: after the close %d, %v", linger, n, err)
		}
	}
}

// An init that comes to listen only when its short command has ended listens
// all the same, and until the end.
func TestInitThatLingersListensUntilTheEnd(t *testing.T) {
	s := newSession(t)
	s.toRunning(t, Job{Argv: [][]byte{[]byte("sh")}, Cwd: "/", Filter: fullJob.Filter, Linger: true})
	must(t, s.Signal(15)) // on its way when the command ends
	must(t, s.init.Exit(Exit{}))
	if signal, _, err := s.init.Control(); err != nil || signal.Number != 15 {
		t.Errorf("what was on its way: %+v, %v", signal, err)
	}
	ended := beside(func() error { _, _, err := s.init.Control(); return err })
	if _, err := s.Wait(); err != nil {
		t.Error(err)
	}
	select {
	case err := <-ended:
		t.Errorf("it listens no more: %v", err)
	default:
	}
	s.Close()
	if err := <-ended; err != ErrGone {
		t.Errorf("the end: %v", err)
	}
	s = newSession(t)
	s.toRunning(t, Job{Argv: [][]byte{[]byte("sh")}, Cwd: "/", Filter: fullJob.Filter})
	must(t, s.init.Exit(Exit{}))
	if _, _, err := s.init.Control(); err != ErrOrder {
		t.Errorf("control, without lingering: %v", err)
	}
}

package server_test

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/server"
	"github.com/creel-sandbox/creel/runner/server/servertest"
)

// A further socket, such as an agent's own, is one for commands: root gets no
// more on it, and it ends with the server or before.
func TestFurtherSocketServesCommandsAndNoOperator(t *testing.T) {
	s, sockets := servertest.Serve(t, server.Options{Backend: &servertest.Host{}})
	path := sockets.Dir + "/further.sock"
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.ServeExec(listener, nil) }()
	if event := strangerAsks(t, path, `{"route":"version"}`); event.Type != api.EventReply {
		t.Errorf("control: version by a stranger: %+v", event)
	}
	for _, route := range adminRoutes {
		_, wire := connect(t, path)
		if err := wire.Send(api.Request{Route: route}); err != nil {
			t.Fatal(err)
		}
		wantError(t, wire, api.CodeDenied, "admin socket")
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Errorf("its end is told as %v", err)
	}
	if event := strangerAsks(t, sockets.Exec, `{"route":"version"}`); event.Type != api.EventReply {
		t.Errorf("control: the server goes on: %+v", event)
	}
}

func TestFurtherSocketIsClosedWithTheServer(t *testing.T) {
	s, sockets := servertest.Serve(t, server.Options{Backend: &servertest.Host{}})
	path := sockets.Dir + "/further.sock"
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.ServeExec(listener, nil) }()
	if event := asks(t, 0, path, `{"route":"version"}`); event.Type != api.EventReply {
		t.Errorf("control: %+v", event)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Errorf("its end is told as %v", err)
	}
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		t.Error("it is connected to still")
	}
}

// A server that has lost one of its sockets must not go on as if it had all.
func TestSocketThatFailsIsToldAtOnce(t *testing.T) {
	dir := t.TempDir()
	listen := func(name string) net.Listener {
		listener, err := net.Listen("unix", dir+"/"+name)
		if err != nil {
			t.Fatal(err)
		}
		return listener
	}
	exec := listen("exec")
	s := server.New(server.Options{Exec: exec, Admin: listen("admin"), Backend: &servertest.Host{}})
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	if event := asks(t, 0, dir+"/exec", `{"route":"version"}`); event.Type != api.EventReply {
		t.Errorf("control: %+v", event)
	}
	exec.Close()
	if err := <-served; !errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), "exec socket") {
		t.Errorf("it is told as %v", err)
	}
	if event := asks(t, 0, dir+"/admin", `{"route":"version"}`); event.Type != api.EventReply {
		t.Errorf("until it is closed the other answers %+v", event)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// further serves one more socket of a server, for a sandbox of its own.
func further(t *testing.T, s *server.Server, sockets servertest.Sockets, own func(string) bool) (net.Listener, string) {
	t.Helper()
	path := sockets.Dir + "/further.sock"
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.ServeExec(listener, own) }()
	if event := asks(t, 0, path, `{"route":"version"}`); event.Type != api.EventReply {
		t.Errorf("control: %+v", event)
	}
	return listener, path
}

// A socket can be handed into a sandbox by whoever may use it outside.
func TestNoSandboxUsesASocketThatIsNotItsOwn(t *testing.T) {
	var where atomic.Pointer[func() (string, error)]
	from := func(sandbox string, err error) {
		f := func() (string, error) { return sandbox, err }
		where.Store(&f)
	}
	from("", nil)
	s, sockets := servertest.Serve(t, server.Options{Backend: &servertest.Host{}, TokenPause: soon,
		SandboxOf: func(pid int32) (string, error) {
			if int(pid) != os.Getpid() {
				t.Errorf("asked of %d", pid)
			}
			return (*where.Load())()
		}})
	token := tokenOf(t, sockets, api.RouteTokenCreate, "ci")
	_, own := further(t, s, sockets, func(sandbox string) bool { return sandbox == "its" })
	for _, c := range []struct {
		sandbox string
		err     error
		outside bool
		owns    bool
	}{
		{"", nil, true, true}, {"its", nil, false, true}, {"another", nil, false, false},
		{"", unix.ESRCH, false, false}, {"", os.ErrNotExist, false, false}, {"", unix.EACCES, false, false},
	} {
		from(c.sandbox, c.err)
		for path, good := range map[string]bool{sockets.Exec: c.outside, sockets.Admin: c.outside, own: c.owns} {
			if event := asks(t, 0, path, `{"route":"version"}`); good != (event.Type == api.EventReply) {
				t.Errorf("from %q, %v, on %s: %+v", c.sandbox, c.err, path, event)
			}
		}
		if c.outside != answersHolder(t, sockets.Token, token) {
			t.Errorf("from %q, %v, with a token", c.sandbox, c.err)
		}
	}
}

// answersHolder asks with a token; a server that is asked by nobody it lets in
// may have closed the connection before the question is sent.
func answersHolder(t *testing.T, path string, token []byte) bool {
	t.Helper()
	_, wire := connect(t, path)
	_ = wire.Send(api.Request{Route: api.RouteVersion, Token: token})
	return receive(t, wire).Type == api.EventReply
}

// Two agents of one user are told apart by their sockets.
func TestCallerOnAFurtherSocketIsKnownByIt(t *testing.T) {
	backend := &servertest.Host{}
	s, sockets := servertest.Serve(t, server.Options{Backend: backend, TokenPause: soon})
	_, path := further(t, s, sockets, nil)
	for _, one := range []string{path, sockets.Exec} {
		_, wire := connect(t, one)
		newStdio(t).sendExec(t, wire, shell("true"))
		for receive(t, wire).Type != api.EventExited {
		}
	}
	if peers := backend.Peers(); len(peers) != 2 || peers[0].Further != path || peers[1].Further != "" || peers[0].UID != peers[1].UID {
		t.Errorf("called %+v", peers)
	}
}

// Whoever is let in while those there are hung up on has called before that, and
// its sandbox may be gone.
func TestHangingUpMissesNobodyWhoIsBeingLetIn(t *testing.T) {
	for name, amid := range map[string]bool{"amid it": true, "control": false} {
		var meanwhile atomic.Pointer[func()]
		s, sockets := servertest.Serve(t, server.Options{Backend: &servertest.Host{}, SandboxOf: func(int32) (string, error) {
			if f := meanwhile.Swap(nil); f != nil {
				(*f)()
			}
			return "its", nil
		}})
		listener, path := further(t, s, sockets, func(sandbox string) bool { return sandbox == "its" })
		asked := make(chan struct{})
		hangUp := func() {
			if amid {
				s.HangUp(listener)
			}
			close(asked)
		}
		meanwhile.Store(&hangUp)
		if event := asks(t, 0, path, `{"route":"version"}`); amid == (event.Type == api.EventReply) {
			t.Errorf("%s: %+v", name, event)
		}
		<-asked
		if event := asks(t, 0, path, `{"route":"version"}`); event.Type != api.EventReply {
			t.Errorf("%s: who calls afterwards is told %+v", name, event)
		}
	}
}

func TestHangingUpEndsWhatWasAskedForOnThatSocketAlone(t *testing.T) {
	backend := &busy{ctx: make(chan context.Context, 1)}
	s, sockets := servertest.Serve(t, server.Options{Backend: backend})
	listener, path := further(t, s, sockets, nil)
	var begun []context.Context
	for _, one := range []string{path, sockets.Exec} {
		_, wire := connect(t, one)
		newStdio(t).sendExec(t, wire, shell("true"))
		begun = append(begun, <-backend.ctx)
	}
	s.HangUp(listener)
	<-begun[0].Done()
	if cause := context.Cause(begun[0]); cause != server.ErrCallerGone {
		t.Errorf("it ended by %v", cause)
	}
	if begun[1].Err() != nil {
		t.Error("what was asked for on the other socket ended too")
	}
	if event := asks(t, 0, path, `{"route":"version"}`); event.Type != api.EventReply {
		t.Errorf("afterwards it answers %+v", event)
	}
}

package server_test

import (
	"net"
	"os"
	"testing"

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
	go func() { served <- s.ServeExec(listener) }()
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
	go func() { served <- s.ServeExec(listener) }()
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

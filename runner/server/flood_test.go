package server_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/server"
	"github.com/creel-sandbox/creel/runner/server/servertest"
)

func TestFloodByOneUIDStarvesNobodyElse(t *testing.T) {
	_, sockets := servertest.Serve(t, server.Options{
		Backend: &servertest.Host{}, MaxConns: 64, MaxConnsPerUID: 20, RequestTimeout: time.Hour,
	})
	held := flood(t, sockets.Exec)
	if len(held) < 20 {
		t.Fatalf("refused after %d connections, want 20", len(held))
	}
	stillServes(t, sockets.Exec)
	// Root has places of its own, so only another ordinary uid shows that the
	// flood was held to its share.
	if event := asks(t, neighbour, sockets.Exec, `{"route":"version"}`); event.Type != api.EventReply {
		t.Errorf("another uid during the flood: %+v", event)
	}
	event := strangerAsks(t, sockets.Exec, `{"route":"version"}`)
	if event.Error == nil {
		t.Fatalf("one more by the flooding uid: %+v", event)
	}
	checkError(t, event.Error, api.CodeBusy, "uid 64123", "creel ps")
	for _, conn := range held {
		conn.Close()
	}
	deadline := time.Now().Add(10 * time.Second)
	for event.Error != nil && time.Now().Before(deadline) {
		event = strangerAsks(t, sockets.Exec, `{"route":"version"}`)
	}
	if event.Error != nil {
		t.Errorf("after the flood its places are still taken: %+v", event.Error)
	}
}

func TestAdminsHavePlacesThatNoFloodCanTake(t *testing.T) {
	_, sockets := servertest.Serve(t, server.Options{
		Backend: &servertest.Host{}, MaxConns: 32, MaxConnsPerUID: 32, RequestTimeout: time.Hour,
	})
	flood(t, sockets.Admin)
	stillServes(t, sockets.Admin)
}

func TestFloodOfControlsEndsItsConnection(t *testing.T) {
	backend := &busy{Host: servertest.Host{}, ctx: make(chan context.Context, 1)}
	_, sockets := servertest.Serve(t, server.Options{Backend: backend})
	_, wire := connect(t, sockets.Exec)
	newStdio(t).sendExec(t, wire, shell("true"))
	ctx := <-backend.ctx
	for range 1000 { // sizes replace each other, and never flood
		if err := wire.Send(api.Control{Resize: &api.Resize{Rows: 1, Cols: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	if ctx.Err() != nil {
		t.Fatalf("ended by sizes: %v", context.Cause(ctx))
	}
	for wire.Send(api.Control{Signal: 10}) == nil && ctx.Err() == nil {
	}
	<-ctx.Done()
	wantError(t, wire, api.CodeBadRequest, "too many control messages")
	stillServes(t, sockets.Exec)
}

// busy is a backend that never looks at its controls.
type busy struct {
	servertest.Host
	ctx chan context.Context
}

func (b *busy) Exec(ctx context.Context, _ server.Peer, _ *api.ExecRequest, stdio server.Stdio, _ <-chan api.Control, _ func(string)) (*api.Result, error) {
	defer stdio.Close()
	b.ctx <- ctx
	<-ctx.Done()
	return nil, context.Cause(ctx)
}

func TestBadFramesEndTheirConnectionWithAReason(t *testing.T) {
	_, sockets := servertest.Serve(t, server.Options{Backend: &servertest.Host{}, RequestTimeout: time.Second})
	good := rawFrame([]byte(`{"route":"version"}`))
	for name, test := range map[string]struct {
		bytes []byte
		half  bool // the client closes its sending side
		words string
	}{
		"4 GiB announced":  {bytes: []byte{255, 255, 255, 255, 'x'}, words: "too large"},
		"not JSON":         {bytes: rawFrame([]byte("GET / HTTP/1.1")), words: "invalid character"},
		"empty body":       {bytes: rawFrame(nil), words: "unexpected EOF"},
		"trailing data":    {bytes: rawFrame([]byte(`{"route":"version"}{}`)), words: "after top-level value"},
		"cut short":        {bytes: good[:9], half: true, words: "unexpected EOF"},
		"silence":          {bytes: nil, words: "no whole message came in time"},
		"half, then none":  {bytes: good[:9], words: "no whole message came in time"},
		"length, no bytes": {bytes: binary.BigEndian.AppendUint32(nil, 1<<20), words: "no whole message came in time"},
	} {
		t.Run(name, func(t *testing.T) {
			conn, wire := connect(t, sockets.Exec)
			if _, err := conn.Write(test.bytes); err != nil {
				t.Fatal(err)
			}
			if test.half {
				conn.CloseWrite()
			}
			wantError(t, wire, api.CodeBadRequest, test.words)
			if _, err := wire.Receive(new(api.Event)); err == nil {
				t.Error("the connection was kept")
			}
			stillServes(t, sockets.Exec)
		})
	}
}

func TestSurplusDescriptorsAreRefusedAndClosed(t *testing.T) {
	_, sockets := servertest.Serve(t, server.Options{Backend: &servertest.Host{}})
	for _, test := range []struct {
		route string
		n     int
	}{{api.RouteVersion, 3}, {api.RouteVersion, 1}, {api.RouteExec, 2}, {api.RouteExec, 4}, {api.RouteExec, 253}} {
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		var descriptors []int
		for range test.n {
			descriptors = append(descriptors, int(write.Fd()))
		}
		_, wire := connect(t, sockets.Exec)
		if err := wire.Send(api.Request{Route: test.route, Body: body(t, struct{}{})}, descriptors...); err != nil {
			t.Fatal(err)
		}
		write.Close()
		wantError(t, wire, api.CodeBadRequest, "descriptors")
		// The end of the pipe shows that no copy of the other side is open.
		read.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := read.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%s with %d descriptors: one stayed open: %v", test.route, test.n, err)
		}
		read.Close()
	}
	stillServes(t, sockets.Exec)
}

func TestManyLargeRequestsAtOnceAreRefused(t *testing.T) {
	_, sockets := servertest.Serve(t, server.Options{Backend: &servertest.Host{}, RequestTimeout: time.Hour})
	header := binary.BigEndian.AppendUint32(nil, api.MaxMessage)
	var wires []*api.Conn
	for range 9 { // one more than a uid may have on the way
		conn, wire := connect(t, sockets.Exec)
		if _, err := conn.Write(append(header, '{')); err != nil {
			t.Fatal(err)
		}
		wires = append(wires, wire)
	}
	refused := make(chan api.Event, len(wires))
	for _, wire := range wires {
		go func() {
			var event api.Event
			if _, err := wire.Receive(&event); err == nil {
				refused <- event
			}
		}()
	}
	event := <-refused
	if event.Error == nil {
		t.Fatalf("event %+v", event)
	}
	checkError(t, event.Error, api.CodeBusy, "large requests")
	stillServes(t, sockets.Exec)
}

func TestSlowReaderOfLogsIsDropped(t *testing.T) {
	backend := &endless{done: make(chan error, 1)}
	_, sockets := servertest.Serve(t, server.Options{Backend: backend, WriteTimeout: 100 * time.Millisecond})
	_, wire := connect(t, sockets.Admin)
	if err := wire.Send(api.Request{Route: api.RouteLogs, Body: body(t, api.LogsRequest{ID: "a"})}); err != nil {
		t.Fatal(err)
	}
	if err := <-backend.done; err == nil {
		t.Error("emit never failed")
	}
	stillServes(t, sockets.Admin)
}

// endless has logs without an end.
type endless struct {
	servertest.Host
	done chan error
}

func (e *endless) Logs(_ context.Context, _ *api.LogsRequest, emit func(api.LogChunk) error) error {
	for {
		if err := emit(api.LogChunk{Stream: "stdout", Data: make([]byte, 4096)}); err != nil {
			e.done <- err
			return err
		}
	}
}

func TestFollowerWhoLeavesEndsTheFollowing(t *testing.T) {
	host := &servertest.Host{Causes: make(chan error, 2)}
	_, sockets := servertest.Serve(t, server.Options{Backend: host})
	_, running := connect(t, sockets.Exec)
	newStdio(t).sendExec(t, running, shell("exec sleep 1000"))
	id := receive(t, running).ID
	conn, wire := connect(t, sockets.Admin)
	if err := wire.Send(api.Request{Route: api.RouteLogs, Body: body(t, api.LogsRequest{ID: id, Follow: true})}); err != nil {
		t.Fatal(err)
	}
	if event := receive(t, wire); event.Log == nil || string(event.Log.Data) != "out\n" {
		t.Fatalf("event %+v", event)
	}
	conn.Close()
	if cause := <-host.Causes; cause != server.ErrCallerGone {
		t.Errorf("cause %v, want ErrCallerGone", cause)
	}
}

func TestCloseWaitsThenCancelsAndLeavesNothing(t *testing.T) {
	host := &servertest.Host{Causes: make(chan error, 2)}
	s, sockets := servertest.Serve(t, server.Options{Backend: host})
	_, idle := connect(t, sockets.Exec)
	_, short := connect(t, sockets.Exec)
	pipes := newStdio(t)
	pipes.sendExec(t, short, shell("cat"))
	receive(t, short)
	_, long := connect(t, sockets.Exec)
	newStdio(t).sendExec(t, long, shell("exec sleep 1000"))
	receive(t, long)
	ctx, cancel := context.WithCancel(t.Context())
	closed := make(chan error, 1)
	go func() { closed <- s.Close(ctx) }()
	wantError(t, idle, api.CodeClosing, "stopping")
	if conn, err := net.Dial("unix", sockets.Exec); err == nil {
		conn.Close()
		t.Error("a closing server accepts")
	}
	pipes.ours[0].Close() // the one that ends by itself is waited for
	if event := receive(t, short); event.Type != api.EventExited || event.Result.Reason != api.ReasonExited {
		t.Errorf("the short one ended with %+v", event)
	}
	if cause := <-host.Causes; cause != nil {
		t.Errorf("the short one was cancelled: %v", cause)
	}
	cancel()
	if cause := <-host.Causes; cause != server.ErrClosed {
		t.Errorf("the long one's cause is %v, want ErrClosed", cause)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// failing is a listener that runs out of descriptors, then works again.
type failing struct {
	net.Listener
	failures int
}

func (f *failing) Accept() (net.Conn, error) {
	if f.failures > 0 {
		f.failures--
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", unix.EMFILE)}
	}
	return f.Listener.Accept()
}

func TestAcceptOutlivesRunningOutOfDescriptors(t *testing.T) {
	path := t.TempDir() + "/s"
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := server.New(server.Options{Backend: &servertest.Host{}, Exec: &failing{listener, 3}, Log: t.Logf})
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	stillServes(t, path)
	if err := s.Close(closedNow()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

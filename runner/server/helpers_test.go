package server_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
)

// stranger is a uid that is neither root nor an admin, and has no account.
const stranger = 64123

// neighbour is another such uid.
const neighbour = 64124

// dialAs connects as another uid, which the kernel records: setresuid(2) made
// directly changes one thread alone (nptl(7)), and a locked thread ends with
// its goroutine.
func dialAs(t testing.TB, uid int, path string) (*net.UnixConn, error) {
	t.Helper()
	type dialed struct {
		conn net.Conn
		err  error
	}
	done := make(chan dialed)
	go func() {
		runtime.LockOSThread()
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
			done <- dialed{nil, errno}
			return
		}
		conn, err := net.Dial("unix", path)
		done <- dialed{conn, err}
	}()
	d := <-done
	if d.err != nil {
		return nil, d.err
	}
	t.Cleanup(func() { d.conn.Close() })
	d.conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	return d.conn.(*net.UnixConn), nil
}

func strangerAsks(t testing.TB, path, request string) api.Event {
	t.Helper()
	return asks(t, stranger, path, request)
}

func asks(t testing.TB, uid int, path, request string) api.Event {
	t.Helper()
	conn, err := dialAs(t, uid, path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Write(rawFrame([]byte(request))) // a busy server has closed it already, and said why
	wire, err := api.NewConn(conn)
	if err != nil {
		t.Fatal(err)
	}
	return receive(t, wire)
}

// flood opens connections as a stranger until one is refused, and returns
// those that were not.
func flood(t testing.TB, path string) []*net.UnixConn {
	t.Helper()
	var held []*net.UnixConn
	for range 1000 {
		conn, err := dialAs(t, stranger, path)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetReadDeadline(time.Now().Add(time.Millisecond))
		if n, _ := conn.Read(make([]byte, 1)); n > 0 {
			return held
		}
		held = append(held, conn)
	}
	t.Fatal("a flood was never refused")
	return nil
}

func rawFrame(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
}

// connect dials and wraps; the raw connection is for bytes that are no frame.
func connect(t testing.TB, path string) (*net.UnixConn, *api.Conn) {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	wire, err := api.NewConn(conn.(*net.UnixConn))
	if err != nil {
		t.Fatal(err)
	}
	return conn.(*net.UnixConn), wire
}

func receive(t testing.TB, wire *api.Conn) api.Event {
	t.Helper()
	var event api.Event
	if _, err := wire.Receive(&event); err != nil {
		t.Fatalf("receive: %v", err)
	}
	return event
}

// wantError receives an error event and checks its code and words.
func wantError(t testing.TB, wire *api.Conn, code string, words ...string) {
	t.Helper()
	event := receive(t, wire)
	if event.Error == nil {
		t.Fatalf("event %+v, want error %s", event, code)
	}
	checkError(t, event.Error, code, words...)
}

func checkError(t testing.TB, e *api.Error, code string, words ...string) {
	t.Helper()
	if e.Code != code || e.ExitCode != api.ExitFailed {
		t.Errorf("error %+v, want code %s", e, code)
	}
	for _, word := range words {
		if !strings.Contains(e.Message+"\n"+e.Hint, word) {
			t.Errorf("error %q, hint %q: want %q there", e.Message, e.Hint, word)
		}
	}
}

// stillServes is the positive control of every attack: another caller is
// answered.
func stillServes(t testing.TB, path string) {
	t.Helper()
	_, wire := connect(t, path)
	if err := wire.Send(api.Request{Route: api.RouteVersion}); err != nil {
		t.Fatal(err)
	}
	if event := receive(t, wire); event.Type != api.EventReply {
		t.Fatalf("version was answered %+v", event)
	}
}

// closedNow is a context that has ended.
func closedNow() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func body(t testing.TB, v any) json.RawMessage {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

package server_test

import (
	"context"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/server"
	"github.com/creel-sandbox/creel/runner/server/servertest"
)

// crowd is more uids than places, such as those of a container's root: no share
// for each keeps them from taking all.
const crowd = 80

// floods connects as each of the crowd and sends a request, or a part of one.
func floods(t *testing.T, path string, request []byte) {
	t.Helper()
	for i := range crowd {
		conn, err := dialAs(t, stranger+10+i, path)
		if err != nil {
			t.Fatal(err)
		}
		if len(request) > 0 {
			_, _ = conn.Write(request) // it may have been sent away already
		}
	}
}

func TestManyUIDsKeepNobodyOut(t *testing.T) {
	for name, request := range map[string][]byte{"silent": nil, "with half a request": rawFrame([]byte(`{"route":"version"}`))[:9]} {
		t.Run(name, func(t *testing.T) {
			_, sockets := servertest.Serve(t, server.Options{Backend: &servertest.Host{}, MaxConns: 64, MaxConnsPerUID: 20, RequestTimeout: time.Hour})
			floods(t, sockets.Exec, request)
			if event := asks(t, neighbour, sockets.Exec, `{"route":"version"}`); event.Type != api.EventReply {
				t.Errorf("another uid is told %+v", event.Error)
			}
			stillServes(t, sockets.Exec)
		})
	}
}

// Wrong tokens wait for their answer, and must not wait in the place of a good
// one.
func TestManyUIDsWithoutATokenKeepNoHolderOut(t *testing.T) {
	for name, request := range map[string]string{"silent": "", "wrong": `{"route":"version","token":"d3Jvbmc="}`} {
		t.Run(name, func(t *testing.T) {
			_, sockets := servertest.Serve(t, server.Options{Backend: &servertest.Host{}, MaxConns: 64, MaxConnsPerUID: 20,
				RequestTimeout: time.Hour, TokenPause: time.Hour})
			token := tokenOf(t, sockets, api.RouteTokenCreate, "ci")
			var frame []byte
			if request != "" {
				frame = rawFrame([]byte(request))
			}
			floods(t, sockets.Token, frame)
			if event := shows(t, sockets.Token, token, api.RouteVersion, struct{}{}); event.Type != api.EventReply {
				t.Errorf("the holder of a token is told %+v", event.Error)
			}
		})
	}
}

// Who has been let in keeps its place, whoever else comes.
func TestFloodEndsNoCommand(t *testing.T) {
	backend := &busy{ctx: make(chan context.Context, 1)}
	_, sockets := servertest.Serve(t, server.Options{Backend: backend, MaxConns: 64, MaxConnsPerUID: 20, RequestTimeout: time.Hour})
	conn, err := dialAs(t, neighbour, sockets.Exec)
	if err != nil {
		t.Fatal(err)
	}
	wire, err := api.NewConn(conn)
	if err != nil {
		t.Fatal(err)
	}
	newStdio(t).sendExec(t, wire, shell("true"))
	ctx := <-backend.ctx
	floods(t, sockets.Exec, nil)
	if event := asks(t, stranger, sockets.Exec, `{"route":"version"}`); event.Type != api.EventReply {
		t.Errorf("control: another uid is told %+v", event.Error)
	}
	if ctx.Err() != nil {
		t.Errorf("the command was ended: %v", context.Cause(ctx))
	}
}

// denying is a backend that lets nobody run anything.
type denying struct{ servertest.Host }

func (*denying) Exec(_ context.Context, _ server.Peer, _ *api.ExecRequest, stdio server.Stdio, _ <-chan api.Control, _ func(string)) (*api.Result, error) {
	stdio.Close()
	return nil, &api.Error{Code: api.CodeDenied, Message: "refused", ExitCode: api.ExitFailed}
}

// Each refusal is a line in the log, and who has no patience must not fill it:
// one who asks again and again, and never waits, is at its share soon.
func TestRefusedAreHeldToTheirShareAndKeepNobodyOut(t *testing.T) {
	_, sockets := servertest.Serve(t, server.Options{Backend: &denying{}, MaxConns: 64, MaxConnsPerUID: 20, RefusalPause: time.Hour})
	refused := 0
	for ; refused < 1000; refused++ {
		conn, err := dialAs(t, stranger, sockets.Exec)
		if err != nil {
			t.Fatal(err)
		}
		wire, err := api.NewConn(conn)
		if err != nil {
			t.Fatal(err)
		}
		stdio := newStdio(t)
		if err := wire.Send(api.Request{Route: api.RouteExec, Body: body(t, shell("true"))}, int(stdio.theirs[0].Fd()), int(stdio.theirs[1].Fd()), int(stdio.theirs[2].Fd())); err != nil {
			break // it has been turned away before it asked
		}
		conn.Close()
		if event := strangerAsks(t, sockets.Exec, `{"route":"version"}`); event.Error != nil {
			checkError(t, event.Error, api.CodeBusy)
			break
		}
	}
	if refused < 200 || refused >= 1000 {
		t.Errorf("it was slowed down after %d refusals", refused)
	}
	if event := asks(t, neighbour, sockets.Exec, `{"route":"version"}`); event.Type != api.EventReply {
		t.Errorf("control: another uid is told %+v", event.Error)
	}
}

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

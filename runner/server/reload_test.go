package server_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/server"
	"github.com/creel-sandbox/creel/runner/server/servertest"
)

func TestReloadIsForRootAlone(t *testing.T) {
	var reloads atomic.Int32
	_, sockets := servertest.Serve(t, server.Options{Backend: &servertest.Host{}, Admins: []uint32{stranger}, Reload: func(context.Context) error {
		reloads.Add(1)
		return nil
	}})
	event := strangerAsks(t, sockets.Admin, `{"route":"reload"}`)
	if event.Error == nil || reloads.Load() != 0 {
		t.Fatalf("by an admin: %+v after %d reloads", event, reloads.Load())
	}
	checkError(t, event.Error, api.CodeDenied, "sudo creel reload")
	_, wire := connect(t, sockets.Admin)
	if err := wire.Send(api.Request{Route: api.RouteReload}); err != nil {
		t.Fatal(err)
	}
	if event := receive(t, wire); event.Type != api.EventReply || reloads.Load() != 1 {
		t.Errorf("control: by root: %+v after %d reloads", event, reloads.Load())
	}
}

func TestWhatIsWrongWithAReloadIsTold(t *testing.T) {
	wrong := &api.Error{Code: "wrong", Message: "x.yaml is wrong", ExitCode: api.ExitFailed}
	for code, reload := range map[string]func(context.Context) error{
		"wrong":             func(context.Context) error { return wrong },
		api.CodeUnsupported: nil,
	} {
		_, sockets := servertest.Serve(t, server.Options{Backend: &servertest.Host{}, Reload: reload})
		_, wire := connect(t, sockets.Admin)
		if err := wire.Send(api.Request{Route: api.RouteReload}); err != nil {
			t.Fatal(err)
		}
		wantError(t, wire, code, "")
	}
}

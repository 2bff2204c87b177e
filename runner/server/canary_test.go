package server_test

import (
	"context"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/server"
	"github.com/creel-sandbox/creel/runner/server/servertest"
)

// planter is a backend that plants canaries.
type planter struct {
	servertest.Host
	canaries chan string
}

func (p *planter) ExecCanary(ctx context.Context, peer server.Peer, req *api.CanaryRequest, stdio server.Stdio, control <-chan api.Control, started func(string)) (*api.Result, error) {
	p.canaries <- req.Canary
	return p.Exec(ctx, peer, &req.ExecRequest, stdio, control, started)
}

func (p *planter) Places(context.Context, string) (*api.PlacesReply, error) {
	return &api.PlacesReply{Pid: 7}, nil
}

var canaryRoutes = []string{api.RouteCanary, api.RoutePlaces}

func TestOnlyRootPlantsCanaries(t *testing.T) {
	_, sockets := servertest.Serve(t, server.Options{Backend: &planter{}, Admins: []uint32{stranger}})
	for _, route := range canaryRoutes {
		for uid, path := range map[int]string{stranger: sockets.Admin, neighbour: sockets.Exec} {
			event := asks(t, uid, path, `{"route":"`+route+`"}`)
			if event.Error == nil {
				t.Fatalf("%s by uid %d: %+v", route, uid, event)
			}
			checkError(t, event.Error, api.CodeDenied, "root alone", "`sudo creel credential verify-no-leak`")
		}
		_, wire := connect(t, sockets.Exec)
		if err := wire.Send(api.Request{Route: route}); err != nil {
			t.Fatal(err)
		}
		wantError(t, wire, api.CodeDenied, "admin socket")
	}
	if event := asks(t, stranger, sockets.Admin, `{"route":"ps"}`); event.Type != api.EventReply {
		t.Errorf("positive control: ps by that admin: %+v", event)
	}
	if event := asks(t, 0, sockets.Admin, `{"route":"places"}`); event.Type != api.EventReply {
		t.Errorf("positive control: places by root: %+v", event)
	}
}

func TestCanaryIsNoTextOfTheCallersChoice(t *testing.T) {
	backend := &planter{canaries: make(chan string, 16)}
	_, sockets := servertest.Serve(t, server.Options{Backend: backend})
	good := strings.Repeat("AZ27", api.CanaryLength/4)
	ask := func(canary string) api.Event {
		_, wire := connect(t, sockets.Admin)
		pipes := newStdio(t)
		request := api.CanaryRequest{ExecRequest: shell("exit 3"), Canary: canary}
		err := wire.Send(api.Request{Route: api.RouteCanary, Body: body(t, request)},
			int(pipes.theirs[0].Fd()), int(pipes.theirs[1].Fd()), int(pipes.theirs[2].Fd()))
		if err != nil {
			t.Fatal(err)
		}
		event := receive(t, wire)
		if event.Type == api.EventStarted {
			event = receive(t, wire)
		}
		return event
	}
	for _, bad := range []string{"", "ghp_realtoken", good[1:], good + "A", good[1:] + "\n", good[1:] + "1", strings.ToLower(good)} {
		event := ask(bad)
		if event.Error == nil {
			t.Fatalf("%q: %+v", bad, event)
		}
		checkError(t, event.Error, api.CodeBadRequest, "52 characters of base32")
	}
	if event := ask(good); event.Type != api.EventExited || event.Result.ExitCode != 3 {
		t.Errorf("positive control: %+v", event)
	}
	if planted := <-backend.canaries; planted != good || len(backend.canaries) != 0 {
		t.Errorf("positive control: planted %q, and %d more", planted, len(backend.canaries))
	}
}

func TestBackendWithoutCredentialsSaysSo(t *testing.T) {
	_, sockets := servertest.Serve(t, server.Options{Backend: &servertest.Host{}})
	event := asks(t, 0, sockets.Admin, `{"route":"places"}`)
	if event.Error == nil || event.Error.Code != api.CodeUnsupported {
		t.Errorf("event %+v", event)
	}
}

package server_test

import (
	"testing"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/server"
	"github.com/creel-sandbox/creel/runner/server/servertest"
)

var adminRoutes = []string{api.RoutePs, api.RouteKill, api.RouteInspect, api.RouteLogs, api.RouteStats, api.RouteDoctor, api.RouteRevoke, api.RouteSecretList, api.RouteAgent}

// typed is what a user types for a route.
func typed(route string) string {
	if route == api.RouteRevoke {
		return "credential revoke"
	}
	return route
}

func TestAdminRoutesAreForAdminsAndNameTheCure(t *testing.T) {
	s, sockets := servertest.Serve(t, server.Options{Backend: &servertest.Host{}, ConfigPath: "/srv/creel.yaml"})
	for _, route := range adminRoutes {
		for _, path := range []string{sockets.Exec, sockets.Admin} {
			event := strangerAsks(t, path, `{"route":"`+route+`"}`)
			if event.Error == nil {
				t.Fatalf("%s by a stranger: %+v", route, event)
			}
			checkError(t, event.Error, api.CodeDenied, "uid 64123", "`sudo creel "+typed(route)+"`", "add 64123 to `admins:` in /srv/creel.yaml", "systemctl reload creeld")
		}
	}
	for _, path := range []string{sockets.Exec, sockets.Admin} {
		if event := strangerAsks(t, path, `{"route":"version"}`); event.Type != api.EventReply {
			t.Errorf("positive control: version by a stranger: %+v", event)
		}
		if event := strangerAsks(t, path, `{"route":"policy"}`); event.Type != api.EventReply {
			t.Errorf("positive control: policy names by a stranger: %+v", event)
		}
	}
	s.SetAdmins([]uint32{stranger})
	if event := strangerAsks(t, sockets.Admin, `{"route":"ps"}`); event.Type != api.EventReply {
		t.Errorf("ps by a stranger made admin: %+v", event)
	}
	s.SetAdmins(nil)
	if event := strangerAsks(t, sockets.Admin, `{"route":"ps"}`); event.Error == nil {
		t.Errorf("ps by a former admin: %+v", event)
	}
}

func TestExecSocketServesNoAdminRouteEvenToRoot(t *testing.T) {
	_, sockets := servertest.Serve(t, server.Options{Backend: &servertest.Host{}})
	for _, route := range adminRoutes {
		_, wire := connect(t, sockets.Exec)
		if err := wire.Send(api.Request{Route: route}); err != nil {
			t.Fatal(err)
		}
		wantError(t, wire, api.CodeDenied, "admin socket")
	}
	_, wire := connect(t, sockets.Admin)
	if err := wire.Send(api.Request{Route: api.RoutePs}); err != nil {
		t.Fatal(err)
	}
	if event := receive(t, wire); event.Type != api.EventReply {
		t.Errorf("positive control: ps on the admin socket: %+v", event)
	}
}

// A client that says who it is was believed once (OpenClaw CVE-2026-44118).
func TestForgedIdentityIsRefused(t *testing.T) {
	_, sockets := servertest.Serve(t, server.Options{Backend: &servertest.Host{}})
	for _, request := range []string{
		`{"route":"ps","uid":0}`,
		`{"route":"ps","peer":{"uid":0}}`,
		`{"route":"version","body":{"uid":0}}`,
		`{"route":"version","route":"ps"}`,
		`{"route":"version","Route":"ps"}`,
	} {
		event := strangerAsks(t, sockets.Admin, request)
		if event.Error == nil {
			t.Fatalf("%s: %+v", request, event)
		}
		checkError(t, event.Error, api.CodeBadRequest)
	}
	if event := strangerAsks(t, sockets.Admin, `{"route":"version","body":{}}`); event.Type != api.EventReply {
		t.Errorf("positive control: %+v", event)
	}
}

func TestRequestsThatMeanNothingAreRefused(t *testing.T) {
	_, sockets := servertest.Serve(t, server.Options{Backend: &servertest.Host{}})
	for name, test := range map[string]struct {
		request api.Request
		words   string
	}{
		"no route":          {api.Request{}, `no route ""`},
		"unknown route":     {api.Request{Route: "audit"}, `no route "audit"`},
		"empty ID":          {api.Request{Route: api.RouteInspect, Body: body(t, api.IDRequest{})}, "an ID is empty"},
		"logs of no ID":     {api.Request{Route: api.RouteLogs}, "an ID is empty"},
		"stats of no ID":    {api.Request{Route: api.RouteStats, Body: body(t, api.StatsRequest{IDs: []string{""}})}, "an ID is empty"},
		"kill of nothing":   {api.Request{Route: api.RouteKill, Body: body(t, api.KillRequest{Signal: 9})}, "either IDs or all"},
		"kill of both":      {api.Request{Route: api.RouteKill, Body: body(t, api.KillRequest{Signal: 9, All: true, IDs: []string{"a"}})}, "either IDs or all"},
		"revoke of nothing": {api.Request{Route: api.RouteRevoke}, "either IDs, a policy or all"},
		"revoke of both":    {api.Request{Route: api.RouteRevoke, Body: body(t, api.RevokeRequest{All: true, Policy: "p"})}, "either IDs, a policy or all"},
		"order of nothing":  {api.Request{Route: api.RouteAgent, Body: body(t, api.AgentRequest{Names: []string{"a"}})}, "no order"},
		"order of no agent": {api.Request{Route: api.RouteAgent, Body: body(t, api.AgentRequest{Order: api.AgentStop})}, "needs the name"},
		"kill of no ID":     {api.Request{Route: api.RouteKill, Body: body(t, api.KillRequest{Signal: 9, IDs: []string{"a", ""}})}, "an ID is empty"},
		"no signal":         {api.Request{Route: api.RouteKill, Body: body(t, api.KillRequest{All: true})}, "no signal 0"},
		"signal 65":         {api.Request{Route: api.RouteKill, Body: body(t, api.KillRequest{All: true, Signal: 65})}, "no signal 65"},
		"exec, no pipes":    {api.Request{Route: api.RouteExec}, "takes 3 descriptors, and 0 came"},
	} {
		t.Run(name, func(t *testing.T) {
			_, wire := connect(t, sockets.Admin)
			if err := wire.Send(test.request); err != nil {
				t.Fatal(err)
			}
			wantError(t, wire, api.CodeBadRequest, test.words)
		})
	}
	_, wire := connect(t, sockets.Admin)
	if err := wire.Send(api.Request{Route: api.RouteKill, Body: body(t, api.KillRequest{All: true, Signal: 64})}); err != nil {
		t.Fatal(err)
	}
	if event := receive(t, wire); event.Type != api.EventReply {
		t.Errorf("positive control: %+v", event)
	}
}

package server_test

import (
	"context"
	"testing"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/server"
	"github.com/creel-sandbox/creel/runner/server/servertest"
)

// checker is a backend that searches until it is told what it found, or that
// nobody waits for it any more.
type checker struct {
	servertest.Host
	asked chan api.CheckRequest
	found chan *api.CheckReply
	ended chan error
}

func newChecker() *checker {
	return &checker{asked: make(chan api.CheckRequest, 1), found: make(chan *api.CheckReply, 1), ended: make(chan error, 1)}
}

func (c *checker) CheckWorkspaces(ctx context.Context, req *api.CheckRequest) (*api.CheckReply, error) {
	c.asked <- *req
	select {
	case reply := <-c.found:
		return reply, nil
	case <-ctx.Done():
		c.ended <- context.Cause(ctx)
		return nil, context.Cause(ctx)
	}
}

// Whoever may write into a workspace and be told what is found there could try
// one guess after another.
func TestOnlyRootIsToldWhatEqualsAValue(t *testing.T) {
	backend := newChecker()
	_, sockets := servertest.Serve(t, server.Options{Backend: backend, Admins: []uint32{stranger}})
	const request = `{"route":"policy check","body":{"file":"p.yaml","policy":"a2luZDogUG9saWN5Cg=="}}`
	for uid, path := range map[int]string{stranger: sockets.Admin, neighbour: sockets.Exec} {
		event := asks(t, uid, path, request)
		if event.Error == nil {
			t.Fatalf("uid %d: %+v", uid, event)
		}
		checkError(t, event.Error, api.CodeDenied, "root alone", "`sudo creel policy check`")
	}
	_, wire := connect(t, sockets.Exec)
	if err := wire.Send(api.Request{Route: api.RouteCheck}); err != nil {
		t.Fatal(err)
	}
	wantError(t, wire, api.CodeDenied, "admin socket")
	if len(backend.asked) != 0 {
		t.Fatalf("it was searched: %+v", <-backend.asked)
	}
	if event := asks(t, stranger, sockets.Admin, `{"route":"ps"}`); event.Type != api.EventReply {
		t.Errorf("positive control: ps by that admin: %+v", event)
	}
	backend.found <- &api.CheckReply{Findings: []string{"here"}}
	if event := asks(t, 0, sockets.Admin, request); event.Type != api.EventReply {
		t.Errorf("positive control: by root: %+v", event)
	}
	if asked := <-backend.asked; asked.File != "p.yaml" || string(asked.Policy) != "kind: Policy\n" {
		t.Errorf("the backend was asked for %+v", asked)
	}
}

func TestSearchEndsWithWhoeverAskedForIt(t *testing.T) {
	backend := newChecker()
	_, sockets := servertest.Serve(t, server.Options{Backend: backend})
	raw, wire := connect(t, sockets.Admin)
	if err := wire.Send(api.Request{Route: api.RouteCheck, Body: body(t, api.CheckRequest{File: "p.yaml"})}); err != nil {
		t.Fatal(err)
	}
	<-backend.asked
	raw.Close()
	if cause := <-backend.ended; cause != server.ErrCallerGone {
		t.Errorf("it ended with %v", cause)
	}
}

func TestBackendThatSearchesNothingSaysSo(t *testing.T) {
	_, sockets := servertest.Serve(t, server.Options{Backend: &servertest.Host{}})
	event := asks(t, 0, sockets.Admin, `{"route":"policy check"}`)
	if event.Error == nil || event.Error.Code != api.CodeUnsupported {
		t.Errorf("event %+v", event)
	}
}

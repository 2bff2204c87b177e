package main

import (
	"context"
	"testing"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/server"
	"github.com/creel-sandbox/creel/runner/server/servertest"
)

func TestReloadSaysWhatIsWrongAndElseNothing(t *testing.T) {
	var wrong error
	s, sockets := servertest.Serve(t, server.Options{Backend: &servertest.Host{}, Reload: func(context.Context) error { return wrong }})
	r := &rig{server: s, sockets: sockets, env: []string{"CREEL_ADMIN_SOCKET=" + sockets.Admin}}
	if got := r.run(t, "reload"); got.code != 0 || got.stdout+got.stderr != "" {
		t.Errorf("got %+v", got)
	}
	r.run(t, "reload", "creeld").want(t, 125, "takes no arguments")
	wrong = &api.Error{Code: "bad-configuration", Message: "reload refused", Details: []string{"x.yaml:3: unknown key", "y.yaml: gone"}, ExitCode: api.ExitFailed, Hint: "mend it"}
	r.run(t, "reload").want(t, 125, "creel: error: reload refused\ncreel: error:   x.yaml:3: unknown key\ncreel: error:   y.yaml: gone\ncreel: hint: mend it")
}

package main

import (
	"context"
	"testing"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/server"
	"github.com/creel-sandbox/creel/runner/server/servertest"
)

func TestReloadSaysWhatIsWrongAndElseNothing(t *testing.T) {
	reloading := func(err error) *rig {
		s, sockets := servertest.Serve(t, server.Options{Backend: &servertest.Host{}, Reload: func(context.Context) error { return err }})
		return &rig{server: s, sockets: sockets, env: []string{"CREEL_ADMIN_SOCKET=" + sockets.Admin}}
	}
	good := reloading(nil)
	if got := good.run(t, "reload"); got.code != 0 || got.stdout+got.stderr != "" {
		t.Errorf("got %+v", got)
	}
	good.run(t, "reload", "creeld").want(t, 125, "takes no arguments")
	reloading(&api.Error{
		Code: "bad-configuration", Message: "reload refused", Details: []string{"x.yaml:3: unknown key", "y.yaml: gone"}, ExitCode: api.ExitFailed, Hint: "mend it",
	}).run(t, "reload").want(t, 125, "creel: error: reload refused\ncreel: error:   x.yaml:3: unknown key\ncreel: error:   y.yaml: gone\ncreel: hint: mend it")
}

// Package systemd holds the unit files that creel installs, and the test that
// boots a real systemd to run them.
//
// It may import integration/vm, integration/readme and the standard library. It
// never runs a unit on the machine of the test.
package systemd

import (
	"context"
	_ "embed"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/integration/readme"
	"github.com/creel-sandbox/creel/integration/vm"
)

//go:embed guest.sh
var guestScript string

// TestSupervisorOnARealSystemd installs what make install installs in a
// machine with systemd and nothing but cgroup v2, and runs the checks of
// guest.sh there, each a subtest.
func TestSupervisorOnARealSystemd(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	image, err := vm.Cached(ctx, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	vm.Machine{Image: image}.Check(ctx, t, guestScript, map[string][]byte{
		"recipe": []byte(readme.Commands(t, "--new-secrets-key")),
		"agent":  []byte(readme.Commands(t, "/usr/share/creel/openclaw.json")),
	})
}

package verify

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/dockerd"
	"github.com/creel-sandbox/creel/integration/testrig"
)

// TestDockersOwnFilesAreWatched has creel use a Docker daemon, which writes
// nothing down, and then somebody else, with the same value in the usual way.
func TestDockersOwnFilesAreWatched(t *testing.T) {
	d := dockerd.Start(t, dockerd.Options{Args: []string{"--debug"}})
	archive, err := exec.Command("tar", "--create", "--directory=/bin", "--dereference", "busybox").Output()
	check(t, err)
	d.Import(bytes.NewReader(archive), "busybox")
	r := start(t, testrig.Options{Config: "engine: docker\ndockerSocket: " + d.Socket + "\n", Policy: "userNamespace: off\n"})
	if got := r.verify(t, 0); got.Engine != "docker" || got.state("environment of the command") != "covered" {
		t.Errorf("report %+v", got)
	}
	got := r.whileItRuns(t, 1, func(value string) {
		d.Docker("run", "--rm", "--network", "none", "--env", "COPIED="+value, "busybox", "/busybox", "true")
	})
	for _, file := range []string{"config.v2.json", "config.json"} {
		found := false
		for _, f := range got.Findings {
			found = found || strings.HasPrefix(f.Place, "files written on ") && strings.Contains(f.Where, file)
		}
		if !found {
			t.Errorf("what docker run --env writes to %s is not found: %+v", file, got.Findings)
		}
	}
}

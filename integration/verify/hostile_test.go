package verify

import (
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// TestHostileWorkspaceNeitherStopsTheSearchNorHidesAnything has the command
// leave what a search of files can be caught with. What it leaves is root's to
// read, in a directory that is the command's.
func TestHostileWorkspaceNeitherStopsTheSearchNorHidesAnything(t *testing.T) {
	const place = "files at rest in /tmp"
	// It ends by itself with these, and is done with them.
	const traps = `mkfifo pipe; ln -s /dev/zero zero; ln -s . loop; ln -s /proc/kcore core; ln pipe pipe2
		python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
		touch "$(printf 'a\nb\033[2J')"; mkdir -m 0 closed; truncate -s 1T holes; `
	r := start(t, testrig.Options{})
	got := r.verify(t, 0, "--", "sh", "-c", traps)
	if got.ExitCode != 0 || got.state(place) != "covered" {
		t.Errorf("exit code %d, %s is %s", got.ExitCode, place, got.state(place))
	}
	got = r.verify(t, 1, "--", "sh", "-c", `echo "$TOKEN" >>holes; echo "$TOKEN" >'`+"a\nb"+`'; chmod 0 holes`)
	if !got.finds(place, r.Workspace+"/holes") || !got.finds(place, r.Workspace+"/a\nb") {
		t.Errorf("findings %+v", got.Findings)
	}
	for _, f := range got.Findings {
		if strings.Contains(f.Where, "holes") && f.Offset != 1<<40 {
			t.Errorf("offset %d", f.Offset)
		}
	}
	// Too deep to be searched, and so not said to be.
	got = r.verify(t, 125, "--", "sh", "-c", `rm holes a*; i=0; while [ $i -lt 100 ]; do mkdir d && cd d || exit 9; i=$((i+1)); done`)
	if got.ExitCode != 0 || got.state(place) != "not-covered" {
		t.Errorf("exit code %d, %s is %s", got.ExitCode, place, got.state(place))
	}
	r.verify(t, 0, "--except", r.Workspace+"/d")
}

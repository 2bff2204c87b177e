package verify

import (
	"fmt"
	"os"
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

// TestFloodOfWritesHidesNothing writes far more than events can wait
// (fanotify(7): 16384), with the value in one file among them. Either it is
// found, or not everything was searched and no success is claimed.
func TestFloodOfWritesHidesNothing(t *testing.T) {
	r := start(t, testrig.Options{})
	check(t, os.MkdirAll("/srv/flood", 0o755))
	got := r.whileItRuns(t, anyCode, func(value string) {
		for i := range 50_000 {
			name, text := fmt.Sprintf("/srv/flood/%d", i), "x"
			if i == 25_000 {
				text = value
			}
			check(t, os.WriteFile(name, []byte(text), 0o600))
			check(t, os.Remove(name))
		}
	})
	switch got.Verdict {
	case "leak":
		if !got.finds("files written on /srv (tmpfs)", "/srv/flood/25000") {
			t.Errorf("findings %+v", got.Findings)
		}
	case "unknown":
		if got.state("files written anywhere") != "not-covered" {
			t.Errorf("report %+v", got)
		}
	default:
		t.Errorf("verdict %s", got.Verdict)
	}
	r.verify(t, 0) // the control: without a flood
}

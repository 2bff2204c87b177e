package verify

import (
	"slices"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
)

func TestNothingIsFoundWhereNothingLeaks(t *testing.T) {
	for _, runtime := range testrig.Runtimes {
		t.Run(runtime, func(t *testing.T) {
			r := start(t, testrig.Options{Runtime: runtime})
			got := r.verify(t, 0, "--", "sh", "-c", `[ "$TOKEN" ] && [ "$PASSWORD" != "$TOKEN" ] || exit 9; exit 7`)
			if got.Verdict != "clean" || len(got.Findings) != 0 || got.ExitCode != 7 || got.Reason != "exited" || got.Policy != "exec-default" || got.Engine != "oci" {
				t.Errorf("report %+v", got)
			}
			if !slices.Equal(got.Variables, []string{"TOKEN", "PASSWORD"}) || len(got.Limits) == 0 || len(got.LeftOut) != 1 {
				t.Errorf("report %+v", got)
			}
			for _, place := range got.Places {
				if place.State == "covered" || place.State == "absent" || strings.HasPrefix(place.Name, machineDisk) && place.State == "left-out" {
					continue
				}
				t.Errorf("place %+v", place)
			}
			for _, name := range []string{"files written on " + diskDir + " (ext4)", "files written on /tmp (tmpfs)", "files at rest in /run",
				"environment of processes", "arguments of processes", "environment of the command", "what creel prints", "kernel log"} {
				if state := got.state(name); state != "covered" {
					t.Errorf("%s is %s", name, state)
				}
			}
		})
	}
}

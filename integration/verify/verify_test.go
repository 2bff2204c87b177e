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

func TestReportForPeopleEndsWithTheVerdict(t *testing.T) {
	r := start(t, testrig.Options{})
	except := machineDisk + diskType() + ")"
	for script, c := range map[string]struct {
		code int
		want []string
	}{
		"true":              {0, []string{"PLACE ", " covered ", except + " ", " left-out ", "Not shown by any run:", "its command ended: exited, exit code 0.", "\nno leak: "}},
		"echo $TOKEN >kept": {1, []string{"FOUND IN ", "/workspace/kept ", "as it is ", " process ", "\nLEAK: "}},
	} {
		got := r.Creel("credential", "verify-no-leak", "--except", except, "--", "sh", "-c", script)
		if got.Code != c.code {
			t.Errorf("%s: exit code %d: %s", script, got.Code, got.Stderr)
		}
		for _, want := range c.want {
			if !strings.Contains(got.Stdout, want) {
				t.Errorf("%s: it does not say %q:\n%s", script, want, got.Stdout)
			}
		}
	}
}

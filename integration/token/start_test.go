package token

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A creeld that cannot start makes no sandbox ahead, and leaves what it found.
func TestStartThatFailsLeavesNothing(t *testing.T) {
	r := start(t, "pool: {warm: 2}")
	r.Stocked("exec-default")
	group, good := r.Group(), r.Config()
	r.StopSupervisor()
	left := func() (all []string) {
		for _, dir := range []string{"sandboxes", "oci", "roots", "agents"} {
			found, err := filepath.Glob(r.Dir + "/run/" + dir + "/*")
			check(t, err)
			all = append(all, found...)
		}
		for _, controller := range []string{"", "/memory", "/pids", "/unified"} {
			found, err := filepath.Glob("/sys/fs/cgroup" + controller + group)
			check(t, err)
			all = append(all, found...)
		}
		return all
	}
	before := left()
	r.WriteConfig(strings.Replace(good, "{everyone: true}", "{group: no-such-group-of-this-host}", 1))
	for range 16 {
		got := r.FailToStart()
		if !strings.Contains(got.Stderr, "no-such-group-of-this-host") || strings.Count(got.Stderr, "\n") != 1 {
			t.Errorf("it says %s", got.Stderr) // or a sandbox was being made
		}
		if after := left(); len(after) > len(before) {
			t.Errorf("it leaves %q, and before there was %q", after, before)
		}
		for _, socket := range []string{"exec.sock", "admin.sock"} {
			if _, err := os.Stat(r.Dir + "/run/" + socket); err == nil {
				t.Errorf("it leaves %s", socket)
			}
		}
	}
	r.WriteConfig(good)
	r.StartSupervisor()
	r.Stocked("exec-default")
	if len(left()) <= len(before) {
		t.Error("control: nothing is found while sandboxes wait")
	}
}

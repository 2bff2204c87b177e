package lifecycle

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// census counts what an invocation could leave behind on the whole machine,
// not only where it should be.
type census map[string]int

func take(r *testrig.Rig) census {
	c := census{
		"mounts of the host":       lines("/proc/self/mountinfo"),
		"mounts of the supervisor": lines(fmt.Sprintf("/proc/%d/mountinfo", r.Pid())),
		"supervisor descriptors":   entries(fmt.Sprintf("/proc/%d/fd", r.Pid())),
		"supervisor children":      children(r.Pid()),
		"sandbox processes":        sandboxProcesses(r),
		"network namespaces":       namespaces("net"),
		"user namespaces":          namespaces("user"),
		"bundles":                  entries(r.Dir + "/run/sandboxes"),
		"runtime states":           entries(r.Dir + "/run/oci"),
		"default runtime states":   entries("/run/crun") + entries("/run/runc"),
	}
	c["control groups"] = len(controlGroups(r))
	left, _ := filepath.Glob("/tmp/runc-process*")
	c["temporary files of the runtime"] = len(left)
	if r.Target.Docker() {
		c["directories of sandboxes"] = entries(r.Dir + "/run/docker")
		maps.Copy(c, daemonsPart())
	}
	return c
}

func lines(path string) int {
	data, _ := os.ReadFile(path)
	return strings.Count(string(data), "\n")
}

func entries(path string) int {
	list, _ := os.ReadDir(path)
	return len(list)
}

func children(pid int) int {
	n := 0
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		data, _ := os.ReadFile(task)
		n += len(strings.Fields(string(data)))
	}
	return n
}

// sandboxProcesses counts the processes of a rig's sandboxes. One that is
// only waiting for its parent (for a killed supervisor's, that is the host's
// PID 1) is dead.
func sandboxProcesses(r *testrig.Rig) int {
	group, n := r.Group()+"/", 0
	memberships, _ := filepath.Glob("/proc/[0-9]*/cgroup")
	for _, membership := range memberships {
		data, _ := os.ReadFile(membership)
		status, _ := os.ReadFile(filepath.Join(filepath.Dir(membership), "status"))
		if strings.Contains(string(data), ":"+group) && !strings.Contains(string(status), "\nState:\tZ") {
			n++
		}
	}
	return n
}

// controlGroups lists those of a rig's sandboxes in every hierarchy.
func controlGroups(r *testrig.Rig) []string {
	v1, _ := filepath.Glob("/sys/fs/cgroup/*" + r.Group() + "/*/cgroup.procs")
	v2, _ := filepath.Glob("/sys/fs/cgroup" + r.Group() + "/*/cgroup.procs")
	return append(v1, v2...)
}

func namespaces(kind string) int {
	seen := map[string]bool{}
	links, _ := filepath.Glob("/proc/[0-9]*/ns/" + kind)
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil {
			seen[target] = true
		}
	}
	return len(seen)
}

// settle waits until the census is what it was, but for the exceptions, and
// fails with what differs.
func settle(t *testing.T, r *testrig.Rig, before census, exceptions ...string) {
	t.Helper()
	var now census
	if r.Holds(func() bool {
		now = take(r)
		for _, what := range exceptions {
			now[what] = before[what]
		}
		return maps.Equal(now, before)
	}) {
		return
	}
	for _, what := range slices.Sorted(maps.Keys(before)) {
		if now[what] != before[what] {
			t.Errorf("%s: %d before, %d after", what, before[what], now[what])
		}
	}
	t.Logf("supervisor's log:\n%s", r.Log())
}

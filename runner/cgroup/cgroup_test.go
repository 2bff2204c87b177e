package cgroup

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// fixture is a tree of files as cgroupfs shows them, with one sandbox, "id".
func fixture(t *testing.T, unified bool, files map[string]string) *Hierarchy {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		check(t, os.MkdirAll(filepath.Dir(path), 0o755))
		check(t, os.WriteFile(path, []byte(text), 0o644))
	}
	h, err := open(dir, unified, "/creel/x")
	check(t, err)
	return h
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// v1 and v2 are what a kernel 6.1 and a kernel 6.18 showed of a sandbox.
func v1() map[string]string {
	return map[string]string{
		"memory/creel/x/id/memory.limit_in_bytes":       "536870912\n",
		"memory/creel/x/id/memory.memsw.limit_in_bytes": "536870912\n",
		"memory/creel/x/id/memory.usage_in_bytes":       "4096\n",
		"memory/creel/x/id/memory.oom_control":          "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
		"pids/creel/x/id/pids.max":                      "128\n",
		"pids/creel/x/id/pids.current":                  "2\n",
		"pids/creel/x/id/cgroup.procs":                  "12\n7\n",
		"cpu/creel/x/id/cpu.cfs_quota_us":               "150000\n",
		"cpu/creel/x/id/cpu.cfs_period_us":              "100000\n",
		"cpuacct/creel/x/id/cpuacct.usage":              "123456\n",
	}
}

func v2() map[string]string {
	return map[string]string{
		"creel/x/id/memory.max":      "536870912\n",
		"creel/x/id/memory.swap.max": "0\n",
		"creel/x/id/memory.current":  "4096\n",
		"creel/x/id/memory.events":   "low 0\nhigh 0\nmax 9\noom 4\noom_kill 3\noom_group_kill 0\n",
		"creel/x/id/pids.max":        "128\n",
		"creel/x/id/pids.current":    "2\n",
		"creel/x/id/cgroup.procs":    "12\n7\n",
		"creel/x/id/cpu.max":         "150000 100000\n",
		"creel/x/id/cpu.stat":        "usage_usec 123\nuser_usec 100\n",
	}
}

func TestLimitsAreReadBack(t *testing.T) {
	set := Limits{Memory: 512 << 20, Swap: 0, Pids: 128, CPUQuota: 150_000, CPUPeriod: 100_000}
	with := func(change func(*Limits)) Limits { l := set; change(&l); return l }
	for _, c := range []struct {
		name       string
		unified    bool
		file, text string
		want       Limits
	}{
		{"v1", false, "", "", set},
		{"v2", true, "", "", set},
		{"v1 without a memory limit", false, "memory/creel/x/id/memory.limit_in_bytes", "9223372036854771712\n",
			with(func(l *Limits) { l.Memory, l.Swap = Unlimited, Unlimited })},
		{"v1 with swap", false, "memory/creel/x/id/memory.memsw.limit_in_bytes", "1073741824\n", with(func(l *Limits) { l.Swap = 512 << 20 })},
		{"v1 with any swap", false, "memory/creel/x/id/memory.memsw.limit_in_bytes", "9223372036854771712\n", with(func(l *Limits) { l.Swap = Unlimited })},
		{"v1 without swap accounting", false, "memory/creel/x/id/memory.memsw.limit_in_bytes", "", with(func(l *Limits) { l.Swap = Unlimited })},
		{"v1 without a CPU limit", false, "cpu/creel/x/id/cpu.cfs_quota_us", "-1\n", with(func(l *Limits) { l.CPUQuota = Unlimited })},
		{"v2 without a memory limit", true, "creel/x/id/memory.max", "max\n", with(func(l *Limits) { l.Memory = Unlimited })},
		{"v2 with any swap", true, "creel/x/id/memory.swap.max", "max\n", with(func(l *Limits) { l.Swap = Unlimited })},
		{"v2 without a CPU limit", true, "creel/x/id/cpu.max", "max 100000\n", with(func(l *Limits) { l.CPUQuota = Unlimited })},
		{"v2 without a pids limit", true, "creel/x/id/pids.max", "max\n", with(func(l *Limits) { l.Pids = Unlimited })},
	} {
		files := v1()
		if c.unified {
			files = v2()
		}
		if c.file != "" {
			if files[c.file] = c.text; c.text == "" {
				delete(files, c.file)
			}
		}
		if got, err := fixture(t, c.unified, files).Limits("id"); err != nil || got != c.want {
			t.Errorf("%s: got %+v, %v, want %+v", c.name, got, err, c.want)
		}
	}
}

func TestUsageIsRead(t *testing.T) {
	for unified, want := range map[bool]Usage{
		false: {Memory: 4096, CPUNanos: 123456, Pids: 2, OOMKills: 3},
		true:  {Memory: 4096, CPUNanos: 123000, Pids: 2, OOMKills: 3},
	} {
		files := v1()
		if unified {
			files = v2()
		}
		if got, err := fixture(t, unified, files).Usage("id"); err != nil || got != want {
			t.Errorf("v2 %v: got %+v, %v, want %+v", unified, got, err, want)
		}
	}
}

// What is missing or cannot be read is never taken for a limit in force.
func TestUnreadableLimitIsAnError(t *testing.T) {
	for _, unified := range []bool{false, true} {
		all := v1
		if unified {
			all = v2
		}
		if _, err := fixture(t, unified, all()).Limits("other"); !errors.Is(err, ErrNotFound) {
			t.Errorf("a group that is not: %v", err)
		}
		for name := range all() {
			for _, limit := range []string{".max", "limit_in_bytes", "cfs_quota_us", "cfs_period_us"} {
				if !strings.HasSuffix(name, limit) {
					continue
				}
				files := all()
				files[name] = "many\n"
				if _, err := fixture(t, unified, files).Limits("id"); err == nil {
					t.Errorf("%s: no error for a text", name)
				}
				delete(files, name)
				if _, err := fixture(t, unified, files).Limits("id"); err == nil && !strings.Contains(name, "memsw") {
					t.Errorf("%s: no error without it", name)
				}
			}
		}
	}
}

func TestGroupsAreListed(t *testing.T) {
	files := v1()
	files["freezer/creel/x/only-frozen/cgroup.procs"] = ""
	files["memory/creel/other/id2/cgroup.procs"] = ""
	ids, err := fixture(t, false, files).List()
	if err != nil || !slices.Equal(ids, []string{"id", "only-frozen"}) {
		t.Errorf("v1: %v, %v", ids, err)
	}
	h := fixture(t, true, v2())
	if ids, err = h.List(); err != nil || !slices.Equal(ids, []string{"id"}) {
		t.Errorf("v2: %v, %v", ids, err)
	}
	if pids, err := h.Procs("id"); err != nil || !slices.Equal(pids, []int{12, 7}) {
		t.Errorf("processes: %v, %v", pids, err)
	}
	if _, err := h.Procs("gone"); !errors.Is(err, ErrNotFound) {
		t.Errorf("processes of a group that is gone: %v", err)
	}
	if pids, err := h.Kill("gone"); err != nil || pids != nil {
		t.Errorf("kill of a group that is gone: %v, %v", pids, err)
	}
	if ids, err := fixture(t, true, nil).List(); err != nil || len(ids) != 0 {
		t.Errorf("no parent yet: %v, %v", ids, err)
	}
}

// A number in cgroup.procs that must never be given to kill(2): 0 and -1 mean
// more than one process.
func TestKillRefusesNumbersThatMeanMore(t *testing.T) {
	for _, number := range []string{"0", "-1"} {
		files := v2()
		files["creel/x/id/cgroup.procs"] = number + "\n"
		if _, err := fixture(t, true, files).Kill("id"); err == nil {
			t.Errorf("%s: not refused", number)
		}
	}
}

// The kernel's own groups of this host, with a process in only one of them.
func TestKillFindsAProcessInAnyHierarchy(t *testing.T) {
	h, err := Open("/creel-test-" + strconv.Itoa(os.Getpid()))
	check(t, err)
	t.Cleanup(func() { check(t, h.RemoveParent()) })
	for _, root := range h.roots {
		parent := filepath.Join(root, h.Parent)
		check(t, os.MkdirAll(filepath.Join(parent, "id"), 0o755))
		t.Cleanup(func() { check(t, h.Remove("id")) })
		cmd := exec.Command("sleep", "1000")
		check(t, cmd.Start())
		if err := os.WriteFile(filepath.Join(parent, "id", "cgroup.procs"), []byte(strconv.Itoa(cmd.Process.Pid)), 0); err != nil {
			// A cpuset of its own takes processes only once it has CPUs.
			check(t, errors.Join(cmd.Process.Kill(), h.Remove("id")))
			_ = cmd.Wait() // says "killed"
			t.Logf("%s takes no process: %v", root, err)
			continue
		}
		pids, err := h.Kill("id")
		if err != nil || !slices.Equal(pids, []int{cmd.Process.Pid}) {
			t.Errorf("%s: %v, %v", root, pids, err)
			check(t, cmd.Process.Kill())
		}
		_ = cmd.Wait() // says "killed"
		if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
			t.Errorf("%s: ended with %v", root, status)
		}
		check(t, h.Remove("id"))
		if ids, err := h.List(); err != nil || len(ids) != 0 {
			t.Errorf("%s: left %v, %v", root, ids, err)
		}
	}
}

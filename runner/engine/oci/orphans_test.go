package oci

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/cgroup"
	"github.com/creel-sandbox/creel/runner/engine"
)

func newEngine(t *testing.T, runtime string) *Engine {
	t.Helper()
	groups, err := cgroup.Open("/creel-test-oci")
	check(t, err)
	lock, err := os.Open(t.TempDir())
	check(t, err)
	t.Cleanup(func() { lock.Close() })
	e, err := New(Config{Runtime: runtime, StateDir: t.TempDir(), Cgroups: groups, Lock: lock})
	check(t, err)
	t.Cleanup(func() { check(t, errors.Join(e.Close(), groups.RemoveParent())) })
	return e
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Only zombies that nobody waits for may be collected: taking another would
// make its Wait fail.
func TestOnlyOrphansAreCollected(t *testing.T) {
	e := newEngine(t, "/usr/bin/crun")
	e.runs.pids = map[int]bool{77: true}
	e.adopted.add("id", 66)
	own := unix.Getpgrp()
	for _, c := range []struct {
		what, stat string
		pid        int
		want       bool
	}{
		{"crun --detach, ended", "12 (crun) Z 1 11 11 0", 12, true},
		{"crun --detach, not ended", "12 (crun) S 1 11 11 0", 12, false},
		{"an init the runtime left", "12 (crun:[2:INIT]) Z 1 12 12 0", 12, true},
		{"an adopted init", "66 (init) Z 1 66 66 0", 66, false},
		{"an init nobody adopted", "12 (init) Z 1 12 12 0", 12, true},
		{"a run under way", "77 (crun) Z 1 77 11 0", 77, false},
		{"a helper", "12 (helper) Z 1 12 11 0", 12, false},
		{"a process of our own group", fmt.Sprintf("12 (ls) Z 1 %d 11 0", own), 12, false},
		{"a name like a state", "12 (x) Z 1 11 11 0) S 1 12 12 0", 12, false},
		{"nothing", "", 12, false},
		{"cut short", "12 (crun) Z 1", 12, false},
	} {
		if got := e.orphaned(c.pid, c.stat); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
}

func TestInitOfARemovedSandboxIsCollectedOnceItEnds(t *testing.T) {
	cmd := exec.Command("cat")
	input, err := cmd.StdinPipe()
	check(t, err)
	check(t, cmd.Start())
	pid := cmd.Process.Pid
	var a adopted
	a.add("id", pid)
	a.add("another", 1) // not our child
	a.leave("another", []int{1})
	if a.leave("id", nil); a.collect() != 1 || !a.has(pid) {
		t.Fatal("an init that has not ended is not left")
	}
	input.Close()
	for deadline := time.Now().Add(10 * time.Second); a.collect() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("an init that has ended is not collected")
		}
	}
	if err := unix.Kill(pid, 0); err != unix.ESRCH || a.has(pid) {
		t.Errorf("it is still there: %v", err)
	}
}

// A sandbox that exists is not harmed by a second one that wants its ID.
func TestCreateRefusesAnIDInUse(t *testing.T) {
	runtime, err := exec.LookPath("crun")
	check(t, err)
	e := newEngine(t, runtime)
	check(t, os.Mkdir(e.bundle("taken"), 0o700))
	check(t, os.WriteFile(filepath.Join(e.bundle("taken"), "config.json"), nil, 0o600))
	if _, err := e.Create(t.Context(), engine.Request{ID: "taken"}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(e.bundle("taken"), "config.json")); err != nil {
		t.Errorf("the first one's bundle: %v", err)
	}
	ids, err := e.List(t.Context())
	if err != nil || len(ids) != 1 || ids[0].ID != "taken" {
		t.Errorf("list: %v, %v", ids, err)
	}
	check(t, e.Remove(t.Context(), "taken"))
	check(t, e.Remove(t.Context(), "taken")) // twice does no harm
	if ids, err := e.List(t.Context()); err != nil || len(ids) != 0 {
		t.Errorf("list: %v, %v", ids, err)
	}
}

// Whether a child has ended is seen without taking it from whoever waits.
func TestEndedChildIsLeftToWhoWaits(t *testing.T) {
	child := exec.Command("cat")
	input, err := child.StdinPipe()
	check(t, err)
	check(t, child.Start())
	if ended(child.Process.Pid) {
		t.Error("control: it has ended already")
	}
	check(t, input.Close())
	check(t, unix.Waitid(unix.P_PID, child.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil))
	if !ended(child.Process.Pid) {
		t.Error("it has not ended")
	}
	check(t, child.Wait())
	if ended(child.Process.Pid) {
		t.Error("a child that is collected has ended")
	}
}

// Whatever is in a sandbox's directories goes with them.
func TestDirectoriesAreRemovedWithWhatIsUnexpected(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "id")
	for _, extra := range []string{"", "unknown", "below/it"} {
		for _, name := range append(bundleFiles, extra) {
			path := filepath.Join(dir, name)
			check(t, os.MkdirAll(filepath.Dir(path), 0o700))
			if name != "" {
				check(t, os.WriteFile(path, nil, 0o600))
			}
		}
		check(t, removeDir(dir, bundleFiles))
		if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("with %q: %v", extra, err)
		}
	}
	check(t, removeDir(dir, bundleFiles)) // twice does no harm
}

package host

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRuntimeDirectoryHasOneSupervisor(t *testing.T) {
	dir := t.TempDir()
	first, err := Lock(dir, 0)
	check(t, err)
	if second, err := Lock(dir, 0); !errors.Is(err, ErrLocked) || second != nil {
		t.Errorf("a second one: %v, %v", second, err)
	}
	other, err := Lock(t.TempDir(), 0)
	check(t, err)
	check(t, other.Close())
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("the lock leaves %v, %v", entries, err)
	}
	check(t, first.Close())
	again, err := Lock(dir, 0)
	check(t, err)
	check(t, again.Close())
	if _, err := Lock(dir+"/missing", 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing directory: %v", err)
	}
}

// A run of the OCI runtime that outlives a killed supervisor keeps the lock,
// so that what follows does not clean up under it.
func TestChildKeepsTheLockUntilItEnds(t *testing.T) {
	dir := t.TempDir()
	lock, err := Lock(dir, 0)
	check(t, err)
	child := exec.Command("cat")
	child.ExtraFiles = []*os.File{lock}
	stdin, err := child.StdinPipe()
	check(t, err)
	check(t, child.Start())
	check(t, lock.Close()) // as when the supervisor is killed
	if _, err := Lock(dir, 0); !errors.Is(err, ErrLocked) {
		t.Errorf("while the child runs: %v", err)
	}
	waited := make(chan error, 1)
	go func() {
		next, err := Lock(dir, 20*time.Second)
		if err == nil {
			err = next.Close()
		}
		waited <- err
	}()
	check(t, stdin.Close())
	check(t, child.Wait())
	if err := <-waited; err != nil {
		t.Errorf("once it has ended: %v", err)
	}
}

func TestOwnGroupIsReadOnUnifiedHostsOnly(t *testing.T) {
	for text, want := range map[string]string{
		"0::/system.slice/creeld.service\n":            "/system.slice/creeld.service",
		"0::/system.slice/creeld.service/supervisor\n": "/system.slice/creeld.service",
		"0::/\n":             "/",
		"0::/odd\\012name\n": "/odd\\012name",
	} {
		if got, unified := ownGroup(text); !unified || got != want {
			t.Errorf("%q: %q, %v", text, got, unified)
		}
	}
	for _, text := range []string{"", "\n", "9:name=systemd:/a\n0::/a\n", "0::/a\n9:cpu:/a\n", "9:cpu:/a\n"} {
		if got, unified := ownGroup(text); unified || got != "" {
			t.Errorf("%q: %q, %v", text, got, unified)
		}
	}
}

func TestSupervisorsDoNotMeetInOneGroup(t *testing.T) {
	if own, err := delegated(); err != nil || own != "" {
		t.Skipf("this process was handed a group of its own (%q, %v), which CgroupParent would move it in", own, err)
	}
	parent := func(dir string) string {
		group, err := CgroupParent(dir)
		check(t, err)
		return group
	}
	if a, b := parent("/run/creel"), parent("/run/creel2"); a == b || !strings.HasPrefix(a, "/creel/") || strings.Contains(a[7:], "/") {
		t.Errorf("groups %q and %q", a, b)
	}
	if parent("/run/creel") != parent("/run/./creel/") {
		t.Error("one directory, two groups")
	}
}

package enginetest

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// sources are directories that a policy can name, with a file each that tells
// which one it is.
func (s *site) source(name, marker string) string {
	s.t.Helper()
	path := s.Dir + "/" + name
	s.check(os.MkdirAll(path, 0o755))
	s.write(path+"/marker", marker)
	return path
}

// mounting is a policy text with one source more.
func (s *site) mounting(source string) string {
	return fmt.Sprintf("mounts:\n- {kind: workspace, source: %s, target: /workspace, mode: rw}\n"+
		"- {kind: data, source: %s, target: /input, mode: ro}\n", s.Workspace, source)
}

func TestSymlinkedSourcesAreRefused(t *testing.T) {
	onEachTarget(t, nil, func(t *testing.T, s *site) {
		s.source("real/deep", "right")
		s.check(os.Symlink(s.Dir+"/real/deep", s.Dir+"/last"))
		s.check(os.Symlink("real", s.Dir+"/middle"))
		s.check(os.Symlink("/proc/self/cwd", s.Dir+"/magic"))
		for source, want := range map[string]string{
			"real/deep": "right", "last": "", "middle/deep": "", "magic": "", "real/deep/marker/..": "", "none": "",
		} {
			s.declare("sources", s.mounting(s.Dir+"/"+source))
			if reload := s.Creel("reload"); (reload.Code == 0) == strings.Contains(source, "..") { // which no policy may have
				t.Errorf("source %s: the reload ended with %+v", source, reload)
			}
			r := s.Creel("exec", "--policy", "sources", "--", "cat", "/input/marker")
			switch {
			case want != "" && (r.Code != 0 || r.Stdout != want):
				t.Errorf("source %s: exit %d, %q, %s", source, r.Code, r.Stdout, r.Stderr)
			case want == "" && (r.Code != 125 || r.Stdout != "" || !strings.Contains(r.Stderr, "creel: hint: ")):
				t.Errorf("source %s: exit %d, %q, %q; want a refusal with a hint", source, r.Code, r.Stdout, r.Stderr)
			}
			s.check(os.Remove(s.Policies + "/sources.yaml"))
			s.Reload()
		}
	})
}

func TestRelativeSourcesAreRefused(t *testing.T) {
	s := start(t, testrig.Targets[0], nil)
	s.source("real", "right")
	for _, source := range []string{"real", "./real", "../real", s.Dir + "/../" + s.Dir + "/real", s.Dir + "/./real", "~/real", "/proc/self/cwd", "/etc", "/"} {
		s.declare("sources", s.mounting(source))
		if reload := s.Creel("reload"); reload.Code != 125 || !strings.Contains(reload.Stderr, "mounts[1].source") {
			t.Errorf("source %s: the reload ended with %+v", source, reload)
		}
		r := s.Creel("exec", "--policy", "sources", "--", "cat", "/input/marker")
		if r.Code != 125 || r.Stdout != "" {
			t.Errorf("source %s: exit %d, %q, %q; want a refusal", source, r.Code, r.Stdout, r.Stderr)
		}
	}
	// The control, which also shows that a bad file left the rest in force.
	if r := s.Shell("echo right"); r.Stdout != "right\n" {
		t.Errorf("the last good policies are not in force: %+v", r)
	}
	s.declare("sources", s.mounting(s.Dir+"/real"))
	s.Reload()
	if r := s.Creel("exec", "--policy", "sources", "--", "cat", "/input/marker"); r.Stdout != "right" {
		t.Errorf("an absolute source: %+v", r)
	}
}

// swapping exchanges two names, over and over, until the returned function is
// called, which tells how many times it was.
func (s *site) swapping(a, b string) (stop func() int64) {
	var ended atomic.Bool
	var swaps atomic.Int64
	done := make(chan error)
	go func() {
		var err error
		for err == nil && (!ended.Load() || swaps.Load()%2 == 1) {
			err = unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
			swaps.Add(1)
			time.Sleep(20 * time.Microsecond) // a rename takes locks that every open on the machine waits for
		}
		done <- err
	}()
	return func() int64 {
		ended.Store(true)
		s.check(<-done)
		return swaps.Load()
	}
}

// launches is how many sandboxes are started while sources are swapped. Each
// start opens every source anew, at a moment that nobody can predict.
const launches = 60

func TestSwappedSourcesNeverShowAnotherDirectory(t *testing.T) {
	for _, c := range []struct {
		name string
		// prepare gives the declared source and the two names to be swapped.
		prepare func(s *site) (source, a, b string)
		allowed outcomes // what a run may see; "refused" is one more
	}{
		{"last component", func(s *site) (string, string, string) {
			s.check(os.Symlink(s.source("victim", "wrong"), s.Dir+"/evil"))
			return s.source("declared", "right"), s.Dir + "/declared", s.Dir + "/evil"
		}, outcomes{"right": "", "refused": ""}},
		{"middle component", func(s *site) (string, string, string) {
			s.source("victim/leaf", "wrong")
			s.check(os.Symlink(s.Dir+"/victim", s.Dir+"/evil"))
			return s.source("declared/leaf", "right"), s.Dir + "/declared", s.Dir + "/evil"
		}, outcomes{"right": "", "refused": ""}},
		// Both are, at their moments, the directory that is declared. A run
		// sees one of them, whole.
		{"two directories", func(s *site) (string, string, string) {
			return s.source("declared", "first"), s.Dir + "/declared", s.source("other", "second")
		}, outcomes{"first": "", "second": ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, testrig.Targets[0], nil)
			source, a, b := c.prepare(s)
			s.declare("swapped", s.mounting(source))
			s.Reload()
			stop := s.swapping(a, b)
			seen := map[string]int{}
			for range launches {
				r := s.Creel("exec", "--policy", "swapped", "--", "cat", "/input/marker")
				if r.Code == 125 && strings.Contains(r.Stderr, "mount source "+source) {
					r.Stdout = "refused"
				}
				seen[r.Stdout]++
				if _, ok := c.allowed[r.Stdout]; !ok {
					t.Errorf("a sandbox saw %q: exit %d, %s", r.Stdout, r.Code, r.Stderr)
				}
			}
			if swaps := stop(); swaps < 1000 {
				t.Errorf("only %d swaps", swaps)
			}
			// The control: the swaps did meet the launches, both ways.
			if len(seen) != len(c.allowed) {
				t.Errorf("in %d launches only %v was seen, of %v", launches, seen, c.allowed.names())
			}
		})
	}
}

func TestReplacedSourceIsTheOneSeen(t *testing.T) {
	onEachTarget(t, nil, func(t *testing.T, s *site) {
		source := s.source("declared", "old")
		s.declare("replaced", s.mounting(source))
		s.Reload()
		see := func(want string) {
			t.Helper()
			if r := s.Creel("exec", "--policy", "replaced", "--", "cat", "/input/marker"); r.Stdout != want {
				t.Errorf("saw %+v, want %q", r, want)
			}
		}
		see("old")
		s.check(os.Rename(source, s.Dir+"/away"))
		s.source("declared", "new")
		see("new")
		see("new")
	})
}

func TestWorkingDirectoryCannotLeaveTheSandbox(t *testing.T) {
	onEachTarget(t, nil, func(t *testing.T, s *site) {
		s.check(os.Mkdir(s.Workspace+"/sub", 0o755))
		s.links(s.outside, "/workspace/sub", "/proc/1/cwd", "/proc/self/fd")
		refused := []string{
			"..", "sub", "/proc", "/proc/self/fd/3", "/proc/self/cwd", "/workspace/../proc/self", "/proc/1/root", "//proc/self/root",
			s.outside, "/workspace/link-outside", "/workspace/link-cwd", "/workspace/link-fd", "/workspace/up" + s.outside,
			"/workspace/../../../.." + s.outside, "/none", "/workspace/probe",
		}
		for _, cwd := range refused {
			r := s.Creel("exec", "--cwd", cwd, "--", "pwd")
			if r.Code != 125 || r.Stdout != "" || !strings.Contains(r.Stderr, "creel: error: ") {
				t.Errorf("cwd %s: exit %d, %q, %q; want a refusal", cwd, r.Code, r.Stdout, r.Stderr)
			}
		}
		for cwd, want := range map[string]string{
			"/workspace/sub": "/workspace/sub", "/workspace/link-sub": "/workspace/sub", "/workspace/../tmp": "/tmp",
			"/workspace/../../../../usr": "/usr", "/": "/", "/workspace/up": "/", "/workspace/up/proc/self/cwd": "/",
		} {
			r := s.Creel("exec", "--cwd", cwd, "--", "/data/probe", "view")
			if got := parse(t, r.Stdout)["cwd"]; r.Code != 0 || got != want {
				t.Errorf("cwd %s: exit %d, %q, %s; want %q", cwd, r.Code, got, r.Stderr, want)
			}
		}
	})
}

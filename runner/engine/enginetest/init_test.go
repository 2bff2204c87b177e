package enginetest

import (
	"strings"
	"testing"
	"time"
)

func TestInitCannotBeLookedInto(t *testing.T) {
	onEachTarget(t, nil, func(t *testing.T, s *site) {
		control := s.control(0, "peek", "child")
		control.expect(t, "outside", control.all("ok", outcomes{"open fd/3": "ok|ENOENT", "open fd/4": "ok|ENOENT"}))
		for _, policy := range []string{filtered, unfiltered} {
			got := s.inside(policy, "peek", "init")
			got.expect(t, policy, got.all("EACCES|EPERM", nil))
			// The same files of a child of the command's own can be had.
			own := s.inside(policy, "peek", "child")
			for _, name := range []string{"environ", "maps", "fd", "exe", "root", "write mem"} {
				if own[name] != "ok" {
					t.Errorf("%s: %s of an own child: %q, so the refusal for init proves nothing", policy, name, own[name])
				}
			}
		}
		s.inside(filtered, "read", "/proc/1/environ", "/proc/1/maps", "/proc/1/mem", "/proc/1/root/etc/passwd", "/proc/1/fd/3").
			expect(t, "by name", outcomes{"/proc/1/environ": "EACCES", "/proc/1/maps": "EACCES", "/proc/1/mem": "EACCES",
				"/proc/1/root/etc/passwd": "EACCES", "/proc/1/fd/3": "EACCES"})
	})
}

// survives runs a script that attacks the init and then leaves with code 43:
// that the code arrives shows that the init still did its work. The next
// invocation shows that creeld did.
func (s *site) survives(policy, what string, script string) {
	s.t.Helper()
	r := s.Creel("exec", "--policy", policy, "--", "bash", "-c", script+"\necho end; exit 43")
	if r.Code != 43 || !strings.HasSuffix(r.Stdout, "end\n") {
		s.t.Errorf("%s: %s: exit %d, %q, %q; want 43", policy, what, r.Code, r.Stdout, r.Stderr)
	}
	if r := s.Creel("exec", "--policy", policy, "--", "echo", "next"); r.Code != 0 || r.Stdout != "next\n" {
		s.t.Errorf("%s: after %s: exit %d, %q, %q", policy, what, r.Code, r.Stdout, r.Stderr)
	}
}

func TestInitSurvivesEverySignal(t *testing.T) {
	onEachTarget(t, nil, func(t *testing.T, s *site) {
		for _, policy := range []string{filtered, unfiltered} {
			s.survives(policy, "every signal", "/data/probe signals init >/tmp/said; grep -q sent /tmp/said || exit 1")
			s.survives(policy, "kill -1", "setsid -w sh -c '/data/probe massacre 15 >/dev/null' & trap '' TERM; wait; true")
			s.survives(policy, "a flood of signals", "for i in {1..3000}; do kill -CHLD 1; kill -HUP 1; kill -SEGV 1; kill -RTMIN 1; done 2>/dev/null")
			// The command itself dies of this one, and no more than that happens.
			r := s.Creel("exec", "--policy", policy, "--", "sh", "-c", "/data/probe massacre 9 >/dev/null; exit 7")
			if r.Code != 137 {
				t.Errorf("%s: kill -9 -1: exit %d, want 137", policy, r.Code)
			}
			r = s.Creel("exec", "--policy", policy, "--", "/data/probe", "massacre", "9")
			if r.Code != 0 {
				t.Errorf("%s: kill -9 -1 by the command: exit %d, want 0", policy, r.Code)
			}
			s.survives(policy, "kill -9 -1", "true")
		}
		// The controls: the signals were sent, and end a process that is not an init.
		got := s.inside(filtered, "signals", "init")
		got.expect(t, "init", outcomes{"sent": "384"}) // 64 signals in 6 ways
		got = s.inside(filtered, "signals", "child")
		got.expect(t, "child", got.all("384", outcomes{"child ended": "ok"}))
	})
}

func TestInitCannotBeStarved(t *testing.T) {
	onEachTarget(t, map[string]string{"tight": "limits: {pids: 40, timeout: 1m, memory: 128MiB}"}, func(t *testing.T, s *site) {
		s.survives(filtered, "limits and scheduling", "/data/probe meddle init >/dev/null")
		got := s.inside(filtered, "meddle", "init")
		for _, name := range []string{"prlimit nofile", "prlimit cpu", "prlimit nproc", "prlimit as", "scheduler fifo", "setpgid", "oom_score_adj", "coredump_filter", "timerslack_ns"} {
			if got[name] != "EPERM" && got[name] != "EACCES" && got[name] != "ESRCH" {
				t.Errorf("%s of init: %q, want a refusal", name, got[name])
			}
		}
		control := s.control(0, "meddle", "child")
		for _, name := range []string{"prlimit nofile", "prlimit cpu", "scheduler fifo", "oom_score_adj", "coredump_filter"} {
			if control[name] != "ok" {
				t.Errorf("control: %s of a child outside: %q", name, control[name])
			}
		}
	})
}

func TestInitReapsAFloodOfOrphans(t *testing.T) {
	onEachTarget(t, map[string]string{"tight": "limits: {pids: 40, timeout: 1m}"}, func(t *testing.T, s *site) {
		for _, policy := range []string{filtered, "tight"} {
			s.survives(policy, "orphans", "/data/probe orphans 150 >/tmp/said; grep -q orphaned /tmp/said || exit 1")
			// No more orphans than the limit allows could be made, had they stayed.
			if policy == "tight" {
				r := s.Creel("exec", "--policy", policy, "--", "/data/probe", "orphans", "150")
				if made := parse(t, r.Stdout)["orphaned"]; made < "100" || len(made) < 3 {
					t.Errorf("only %s orphans could be made under a limit of 40: they are not reaped", made)
				}
			}
		}
	})
}

func TestInitSocketIsOutOfReach(t *testing.T) {
	onEachTarget(t, nil, func(t *testing.T, s *site) {
		for _, policy := range []string{filtered, unfiltered} {
			s.survives(policy, "its descriptors", `for i in {0..9}; do
				{ echo x > /proc/1/fd/$i; } 2>/dev/null && exit 1
				{ echo x > /proc/self/fd/3; } 2>/dev/null && exit 2
			done; kill -STOP 1; kill -TSTP 1`)
		}
		// The control: a descriptor of the command's own can be written to so.
		if r := s.Exec("bash", "-c", "exec 5>&1; echo x > /proc/self/fd/5"); r.Stdout != "x\n" {
			t.Errorf("own descriptor: %+v", r)
		}
	})
}

func TestSurvivorsDieWithTheirInvocation(t *testing.T) {
	onEachTarget(t, nil, func(t *testing.T, s *site) {
		for _, end := range []string{"exit", "kill"} {
			word := canary + "-" + end
			run := s.begin(t, filtered, "/data/probe", "survive", word)
			if n := running(word, "end"); n != 6 {
				t.Errorf("%s: %d children outside of the command's session, want 6: %v", end, n, run.said)
			}
			asked := time.Now()
			if end == "kill" {
				if r := s.Creel("kill", "--all"); r.Code != 0 {
					t.Errorf("kill: %+v", r)
				}
			}
			code := run.end(t)
			took := time.Since(asked)
			if want := map[string]int{"exit": 0, "kill": 137}[end]; code != want {
				t.Errorf("%s: exit %d, want %d", end, code, want)
			}
			if n := running(word, ""); n != 0 || took > time.Second {
				t.Errorf("%s: %d processes are left after %v", end, n, took)
			}
		}
	})
}

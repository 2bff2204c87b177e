// Package lifecycle tests how invocations end and what they leave behind:
// with the real client and supervisor, on this machine.
//
// It imports only testrig, and never ends a process that neither it nor its
// rig started.
package lifecycle

import (
	"bufio"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// stubborn says "up" once it has a child that ignores SIGTERM in a session of
// its own, a double-forked orphan, and itself ignores what can be ignored.
const stubborn = `trap '' TERM HUP INT
setsid sh -c 'trap "" TERM HUP INT; while :; do sleep 1000; done' &
(setsid sh -c 'trap "" TERM; sleep 1000' &)
while [ $(ls -d /proc/[0-9]* | wc -l) -lt 6 ]; do :; done
echo up; while :; do sleep 1000; done`

// launch starts the client with a stubborn command and returns once it runs.
func launch(t *testing.T, r *testrig.Rig, flags ...string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	args := append([]string{"exec"}, flags...)
	cmd := r.Command(append(args, "--", "sh", "-c", stubborn)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(stdout)
	if line, err := out.ReadString('\n'); line != "up\n" {
		t.Fatalf("stubborn command said %q: %v\n%s", line, err, r.Log())
	}
	return cmd, out
}

// TestSandboxDiesWithinASecondHoweverItEnds covers every way an end can come
// from outside, against a command whose processes resist.
func TestSandboxDiesWithinASecondHoweverItEnds(t *testing.T) {
	onEachMaker(t, "", func(t *testing.T, r *testrig.Rig) {
		for name, c := range map[string]struct {
			flags []string
			end   func(client *exec.Cmd)
			code  int
		}{
			"client killed":     {end: func(c *exec.Cmd) { _ = c.Process.Kill() }, code: -1},
			"operator kills":    {end: func(*exec.Cmd) { r.Creel("kill", "--all") }, code: 137},
			"time limit":        {flags: []string{"--timeout", "2s"}, end: func(*exec.Cmd) {}, code: 124},
			"supervisor killed": {end: func(*exec.Cmd) { r.KillSupervisor() }, code: 125},
		} {
			t.Run(name, func(t *testing.T) {
				client, _ := launch(t, r, c.flags...)
				if n := sandboxProcesses(r); n < 4 {
					t.Fatalf("control: only %d processes of the sandbox are seen", n)
				}
				c.end(client)
				began := time.Now()
				_ = client.Wait()
				if code := client.ProcessState.ExitCode(); code != c.code {
					t.Errorf("client ended with %d, want %d", code, c.code)
				}
				r.Eventually("no process of the sandbox is left", func() bool { return sandboxProcesses(r) == 0 })
				if took := time.Since(began); name != "time limit" && took > time.Second {
					t.Errorf("took %v", took)
				}
				if name == "supervisor killed" {
					r.StartSupervisor()
				}
				if strings.Contains(r.Log(), "broke the protocol") {
					t.Errorf("an init that was ended is said to have done wrong:\n%s", r.Log())
				}
			})
		}
	})
}

// TestTimeLimitOfThePolicyHoldsAgainstALongerOneOfTheCaller also covers the
// supervisor's clean stop, which tells the caller why.
func TestTimeLimitOfThePolicyHoldsAgainstALongerOneOfTheCaller(t *testing.T) {
	onEachMaker(t, "limits: {timeout: 1s}", func(t *testing.T, r *testrig.Rig) {
		if got := r.Creel("exec", "--timeout", "1h", "--", "sleep", "1000"); got.Code != 124 {
			t.Errorf("ended with %d, want 124: %s", got.Code, got.Stderr)
		}
		if got := r.Exec("sleep", "0.1"); got.Code != 0 {
			t.Errorf("control: ended with %d: %s", got.Code, got.Stderr)
		}
	})
}

func TestCleanStopEndsAndTellsTheCaller(t *testing.T) {
	before := daemonsPart()
	onEachMaker(t, "", func(t *testing.T, r *testrig.Rig) {
		client, _ := launch(t, r)
		if len(controlGroups(r)) == 0 || r.Target.Docker() && maps.Equal(daemonsPart(), before) {
			t.Fatal("control: nothing of the sandbox is seen")
		}
		r.StopSupervisor()
		_ = client.Wait()
		if code := client.ProcessState.ExitCode(); code != 137 && code != 125 {
			t.Errorf("client ended with %d", code)
		}
		if n := sandboxProcesses(r); n != 0 {
			t.Errorf("%d processes of the sandbox are left", n)
		}
		if left := append(controlGroups(r), glob(r.Dir+"/run/*")...); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
		if after := daemonsPart(); !maps.Equal(after, before) {
			t.Errorf("the daemon had %v, and now %v", before, after)
		}
	})
}

// TestManyInvocationsLeaveNothing mixes every kind of end.
func TestManyInvocationsLeaveNothing(t *testing.T) {
	scripts := []struct {
		script string
		code   int
	}{
		{"true", 0}, {"exit 7", 7}, {"kill -9 $$", 137}, {"sleep 1000 & echo gone", 0},
		{"nosuchcommand", 127}, {"yes", 137},
	}
	onEachMaker(t, "limits: {timeout: 1m, pids: 64, output: 1MiB}", func(t *testing.T, r *testrig.Rig) {
		run := func(i int) {
			c := scripts[i%len(scripts)]
			if got := r.Shell(c.script); got.Code != c.code {
				t.Fatalf("%q ended with %d, want %d: %.300s", c.script, got.Code, c.code, got.Stderr)
			}
		}
		before := idle(t, r)
		for i := range map[string]int{"crun": 300, "runc": 30, "docker": 50}[r.Target.Maker] {
			run(i)
		}
		settle(t, r, before)
	})
}

// idle runs a command, so that what is made once is there, and takes a census
// when nothing of it is left.
func idle(t *testing.T, r *testrig.Rig) census {
	t.Helper()
	r.Group()
	r.Shell("true")
	r.Eventually("idle", func() bool {
		directories := entries(r.Dir+"/run/sandboxes") + len(glob(r.Dir+"/run/docker/"+strings.Repeat("[0-9a-f]", 12)))
		return directories == 0 && len(r.List()) == 0 && len(controlGroups(r)) == 0 && children(r.Pid()) == 0
	})
	return take(r)
}

// TestKilledSupervisorLeavesNothingAfterItsRestart kills it at 20 moments,
// in launches and in runs.
func TestKilledSupervisorLeavesNothingAfterItsRestart(t *testing.T) {
	for target, apart := range map[testrig.Target]time.Duration{makers[0]: 7 * time.Millisecond, byDocker: 30 * time.Millisecond} {
		t.Run(target.Maker, func(t *testing.T) {
			r := testrig.Start(t, testrig.Options{Target: target})
			before := idle(t, r)
			for i := range 20 {
				// Not to synchronise: to hit another moment of the launch each time.
				killAndRestart(t, r, time.Duration(i)*apart)
			}
			if got := r.Shell("exit 7"); got.Code != 7 {
				t.Errorf("afterwards a command ended with %d: %s", got.Code, got.Stderr)
			}
			settle(t, r, before)
		})
	}
}

// killAndRestart kills the supervisor a while after three launches began.
func killAndRestart(t *testing.T, r *testrig.Rig, after time.Duration) {
	t.Helper()
	clients := make([]*exec.Cmd, 3)
	for j := range clients {
		clients[j] = r.Command("exec", "--", "sh", "-c", "sleep 1000")
		if err := clients[j].Start(); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(after)
	r.KillSupervisor()
	for _, client := range clients {
		_ = client.Wait()
		if code := client.ProcessState.ExitCode(); code != 125 {
			t.Errorf("client ended with %d, want 125", code)
		}
	}
	began := time.Now()
	r.StartSupervisor()
	r.Eventually("what it left is gone", func() bool { return sandboxProcesses(r) == 0 })
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("after %v: recovery took %v", after, took)
	}
}

// TestTwoSupervisorsCannotShareARuntimeDirectory, but run side by side on
// their own.
func TestTwoSupervisorsCannotShareARuntimeDirectory(t *testing.T) {
	r := testrig.Start(t, testrig.Options{})
	second := exec.Command(filepath.Join(testrig.Binaries(t), "creeld"), "--config", r.Dir+"/creel.yaml")
	out, err := second.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "another supervisor") {
		t.Errorf("a second supervisor said %v: %s", err, out)
	}
	other := testrig.Start(t, testrig.Options{})
	for i, rig := range []*testrig.Rig{r, other} {
		if got := rig.Shell(fmt.Sprintf("exit %d", 3+i)); got.Code != 3+i {
			t.Errorf("control: ended with %d: %s", got.Code, got.Stderr)
		}
	}
}

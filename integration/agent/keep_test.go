package agent

import (
	"maps"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/integration/testrig"
)

func onEachRuntime(t *testing.T, o options, test func(*testing.T, *rig)) {
	for _, runtime := range testrig.Runtimes {
		t.Run(runtime, func(t *testing.T) {
			o := o
			o.Runtime = runtime
			test(t, start(t, o))
		})
	}
}

// The supervisor answers while an agent is not ready yet; then the agent is
// listed, inspected and logged like any sandbox, by its name too.
func TestAgentStartsWithTheSupervisorAndBecomesReady(t *testing.T) {
	onEachRuntime(t, options{Told: []string{"wait"}}, func(t *testing.T, r *rig) {
		r.StopSupervisor()
		r.StartSupervisor() // returns when it answers
		r.Eventually("it is started", func() bool { return r.agent().State == "starting" && r.agent().Sandbox != "" })
		if got := r.Shell("exit 7"); got.Code != 7 {
			t.Errorf("while it starts a command ended with %d: %s", got.Code, got.Stderr)
		}
		r.untell("wait")
		a := r.await("ready")
		if row := r.sandbox(); row.ID != a.Sandbox || row.State != "ready" || !strings.HasPrefix(row.Command, "python3 /agent/agent.py") {
			t.Errorf("listed as %+v, and the agent as %+v", row, a)
		}
		if code, printed := r.run("echo $USER-$((6*7)); ls /"); code != 0 || !strings.Contains(printed, "-42") {
			t.Errorf("through the published port: %d, %q", code, printed)
		}
		for _, name := range []string{"agent", a.Sandbox} {
			if got := r.Creel("logs", name); !strings.Contains(got.Stdout, "hello") {
				t.Errorf("logs of %s: %+v", name, got)
			}
			if got := r.Creel("inspect", name); !strings.Contains(got.Stdout, `"noNewPrivs": true`) || !strings.Contains(got.Stdout, `"seccomp": 2`) {
				t.Errorf("inspect %s: %+v", name, got)
			}
		}
		if got := r.Creel("exec", "--policy", "agent", "--", "true"); got.Code != 125 || !strings.Contains(got.Stderr, "not one that user root may run") {
			t.Errorf("a command in an agent's policy: %+v", got)
		}
	})
}

// ending is one way in which an agent comes to its end.
type ending struct {
	name    string
	end     func(*rig)
	problem string // as the log has it
}

// ends are those without anybody's wish.
var ends = []ending{
	{"killed", func(r *rig) { check(r.t, syscall.Kill(command(r), syscall.SIGKILL)) }, "signaled, exit code 137"},
	{"its init killed", func(r *rig) { check(r.t, syscall.Kill(r.sandbox().Pid, syscall.SIGKILL)) }, "lost, exit code 137"},
	{"ends by itself", func(r *rig) { check(r.t, syscall.Kill(command(r), syscall.SIGTERM)) }, "exited, exit code 0"},
	{"out of memory", func(r *rig) { r.eat() }, "oom, exit code 137"},
	{"hung", func(r *rig) { check(r.t, syscall.Kill(command(r), syscall.SIGSTOP)) }, "no answer within 2s"},
	{"killed by an operator", func(r *rig) { r.Creel("kill", "agent") }, "killed, exit code 137"},
}

// eat has the agent's own process take more memory than it may have.
func (r *rig) eat() {
	r.t.Helper()
	r.tell("eat", "")
}

// command is the pid, on the host, of the agent's own process: the child of its
// init.
func command(r *rig) int {
	r.t.Helper()
	return programOf(r.t, r.sandbox().Pid)
}

func TestAgentComesBackHoweverItEnds(t *testing.T) {
	for _, runtime := range testrig.Runtimes {
		for _, c := range ends {
			t.Run(runtime+"/"+c.name, func(t *testing.T) {
				o := options{Agent: "stop: {grace: 100ms}"}
				o.Runtime = runtime
				r := start(t, o)
				before := r.await("ready")
				census := r.atRest()
				c.end(r)
				r.neverReadyWithoutASandbox()
				after := r.anew(before)
				if after.Restarts != 1 || r.count("started") != 2 {
					t.Errorf("started again %d times, events %q", after.Restarts, r.events())
				}
				if !strings.Contains(r.Log(), c.problem) {
					t.Errorf("the log does not say %q:\n%s", c.problem, r.Log())
				}
				if code, _ := r.run("exit 3"); code != 3 {
					t.Errorf("afterwards it answers %d", code)
				}
				r.same(census)
			})
		}
	}
}

// neverReadyWithoutASandbox watches what ps says until another agent is there.
func (r *rig) neverReadyWithoutASandbox() {
	r.t.Helper()
	r.Eventually("it was started again", func() bool {
		a := r.agent()
		if a.Sandbox == "" && (a.State == "ready" || a.State == "unhealthy") {
			r.t.Errorf("ps says %+v", a)
		}
		return a.Restarts > 0
	})
}

// settled waits until nothing is left of the commands that the rig itself ran.
func (r *rig) settled() {
	r.t.Helper()
	r.Group()
	r.Eventually("only the agent is there", func() bool { return r.left()["bundles"] == 1 && len(r.List()) == 1 })
}

// atRest is what there is when nothing is on its way any more: the least that is
// found in many looks, since what a command had is closed after its caller knows
// of its end.
func (r *rig) atRest() map[string]int {
	r.t.Helper()
	r.settled()
	census := r.left()
	for looks := 0; looks < 25; looks++ {
		if now := r.left(); now["open"] < census["open"] {
			census, looks = now, 0
		}
	}
	return census
}

// same waits until there is as much of sandboxes as there was.
func (r *rig) same(census map[string]int) {
	r.t.Helper()
	var now map[string]int
	if !r.Holds(func() bool {
		now = r.left()
		return maps.Equal(now, census)
	}) {
		r.t.Errorf("there was %v, and now %v\n%s", census, now, r.Log())
	}
}

// A supervisor that was killed leaves an agent behind; the next ends it and
// starts one.
func TestKilledSupervisorLeavesOneAgentAfterItsRestart(t *testing.T) {
	r := start(t, options{})
	before := r.await("ready")
	census := r.atRest()
	orphan := command(r)
	r.KillSupervisor()
	r.StartSupervisor()
	r.anew(before)
	r.Eventually("the orphan is gone", func() bool { return !alive(orphan) })
	r.Shell("true") // so that its root is built again too
	r.settled()
	r.same(census)
	if n := r.count("started"); n != 2 {
		t.Errorf("events %q", r.events())
	}
}

// An agent that ends again and again is started as often as its policy says,
// later each time, and then stays down until somebody starts it or its policy is
// another.
func TestAgentThatEndsTooOftenStaysDown(t *testing.T) {
	r := start(t, options{Agent: "command: [sh, -c, 'echo started >>/state/events; echo why it ended; exit 3']\nready: {http: /, port: 1024}\nrestart: {backoff: 10ms, limit: 2 in 10m}"})
	down := r.await("down")
	if down.Sandbox != "" || !strings.Contains(down.Problem, "exit code 3") || r.count("started") != 3 {
		t.Errorf("it is %+v, events %q", down, r.events())
	}
	if !strings.Contains(r.Log(), "more often than 2 in 10m and stays down") {
		t.Errorf("the log does not say so:\n%s", r.Log())
	}
	got := r.Creel("ps")
	if !strings.Contains(got.Stdout, "down") || !strings.Contains(got.Stderr, "agent agent is down") {
		t.Errorf("ps says %+v", got)
	}
	if got := r.Creel("doctor"); !strings.Contains(got.Stdout, "agent agent") || !strings.Contains(got.Stdout, "creel agent start agent") {
		t.Errorf("the doctor says %s", got.Stdout)
	}
	if got := r.Creel("logs", "agent"); got.Stdout != "why it ended\n" {
		t.Errorf("its last log is %+v", got)
	}
	r.Reload() // of the same policy
	if a := r.agent(); a.State != "down" {
		t.Errorf("a reload made it %+v", a)
	}
	if got := r.Creel("agent", "start", "agent"); got.Code != 0 {
		t.Fatalf("start: %+v", got)
	}
	r.Eventually("it was started by an operator and ended as often", func() bool { return r.agent().State == "down" && r.count("started") == 6 })
	r.declare("command: [sh, -c, 'exec sleep 1000']\nready: {http: /, port: 1024}")
	r.Reload()
	r.Eventually("it is started, as another", func() bool { return r.agent().State == "starting" && len(r.List()) == 1 })
}

// Not ready in time is as bad as ended.
func TestAgentThatIsNotReadyInTimeIsStartedAnew(t *testing.T) {
	r := start(t, options{Told: []string{"sick"}, Agent: "ready: {http: /healthz, within: 3s, every: 50ms}\nrestart: {backoff: 10ms, limit: 1 in 10m}"})
	if down := r.await("down"); !strings.Contains(down.Problem, "status 503") || r.count("started") != 2 || r.count("term") != 2 {
		t.Errorf("it is %+v, events %q", down, r.events())
	}
	r.untell("sick")
	r.Creel("agent", "start", "agent")
	r.await("ready")
	r.tell("sick", "") // two bad answers in a row have it started anew
	r.Eventually("it is asked to end again", func() bool { return r.count("term") == 3 })
}

// An operator can keep an agent down, and start it anew.
func TestOperatorStopsStartsAndRestartsAnAgent(t *testing.T) {
	r := start(t, options{})
	first := r.await("ready")
	if got := r.Creel("agent", "stop", "agent"); got.Code != 0 || strings.TrimSpace(got.Stdout) != "agent" {
		t.Fatalf("stop: %+v", got)
	}
	r.await("stopped")
	if len(r.List()) != 0 || r.count("term") != 1 {
		t.Errorf("listed %+v, events %q", r.List(), r.events())
	}
	r.Reload()
	if a := r.agent(); a.State != "stopped" {
		t.Errorf("a reload made it %+v", a)
	}
	r.Creel("agent", "start", "agent")
	second := r.anew(first)
	r.Creel("agent", "start", "agent") // of one that runs changes nothing
	if a := r.agent(); a.Sandbox != second.Sandbox {
		t.Errorf("a second start made it %+v", a)
	}
	r.Creel("agent", "restart", "agent")
	r.anew(second)
	if got := r.Creel("agent", "stop", "exec-default"); got.Code != 1 || !strings.Contains(got.Stderr, "no agent") {
		t.Errorf("a policy was stopped: %+v", got)
	}
}

// The stop is in order: first the agent, which is asked, may finish what it has
// begun, commands in sandboxes too, and is killed when it takes too long.
func TestAgentIsStoppedInOrder(t *testing.T) {
	r := start(t, options{})
	r.await("ready")
	r.tell("ask", "/agent/creel exec -- sh -c 'echo last words'")
	r.StopSupervisor()
	if events := strings.Join(r.events()[1:], ", "); events != "term, asked 0 last words" {
		t.Errorf("it noted %q\n%s", events, r.Log())
	}
	check(t, os.Remove(r.state+"/events"))
	r.untell("ask")
	r.tell("stubborn", "")
	r.declare("stop: {grace: 700ms}")
	r.StartSupervisor()
	r.await("ready")
	pid, began := command(r), time.Now()
	r.StopSupervisor()
	if took := time.Since(began); took < 700*time.Millisecond {
		t.Errorf("it was killed after %v", took)
	}
	if r.count("term") != 1 || alive(pid) {
		t.Errorf("events %q, alive %v", r.events(), alive(pid))
	}
}

// A reload starts an agent anew when its policy means something else, and ends
// it when there is none.
func TestReloadStartsAnAgentAnewOnlyWhenItsPolicyIsAnother(t *testing.T) {
	r := start(t, options{})
	first := r.await("ready")
	r.Reload()
	r.declare("owner: somebody.else@example.org")
	r.Reload()
	if a := r.agent(); a.Sandbox != first.Sandbox || a.State != "ready" {
		t.Errorf("a reload without a change made %+v of %+v", a, first)
	}
	r.declare("env: {GREETING: hello}")
	r.Reload()
	r.anew(first)
	if code, printed := r.run("echo $GREETING"); code != 0 || printed != "hello" {
		t.Errorf("it has %q", printed)
	}
	check(t, os.Remove(r.Policies+"/agent.yaml"))
	r.Reload()
	r.Eventually("it is gone", func() bool { return len(r.Agents()) == 0 && len(r.List()) == 0 })
	if r.count("term") != 2 {
		t.Errorf("events %q", r.events())
	}
}

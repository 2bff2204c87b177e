package supervisor

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
)

// Promise 7 holds for agents, whose sandbox is made by the same steps: none
// starts in a sandbox that is not what its policy promises, and it is tried
// again without end.
func TestWrongSandboxOfAnAgentIsRefusedBeforeItStarts(t *testing.T) {
	path, edit := faulty(t, "crun")
	edit("")
	r := newRig(t, options{runtime: path, more: map[string]string{"helper": `kind: Agent
command: [sh, -c, "echo ran >>/workspace/ran; exec sleep 1000"]
restart: {backoff: 10ms, most: 20ms, limit: 1 in 10m}
stop: {grace: 10ms}
userNamespace: required`}})
	ran := r.workspace + "/ran"
	order := func(what string) {
		t.Helper()
		_, err := r.OrderAgents(t.Context(), &api.AgentRequest{Order: what, Names: []string{"helper"}})
		check(t, err)
	}
	state := func() api.Agent { return r.agents.rows()[0] }
	r.BeginAgents()
	for _, fault := range faults {
		if !slices.Contains([]string{"a directory of the host", "a capability", "new privileges", "no floor", "the host's network"}, fault.name) {
			continue
		}
		r.eventually("control: it runs", func() bool { return state().State == api.AgentRunning && exists(ran) })
		order(api.AgentStop)
		r.eventually("it is stopped", func() bool { return state().State == api.AgentStopped })
		check(t, os.Remove(ran))
		edit(fault.edit)
		before := strings.Count(r.log.String(), "launch failed")
		order(api.AgentStart)
		r.eventually("it was tried and refused more often than it may end", func() bool { return strings.Count(r.log.String(), "launch failed") >= before+3 })
		if a := state(); exists(ran) || a.State == api.AgentDown || !strings.Contains(r.log.String(), fault.told) {
			t.Errorf("%s: ran %v, it is %+v", fault.name, exists(ran), a)
		}
		edit("")
	}
	r.eventually("control: it runs after all", func() bool { return state().State == api.AgentRunning && exists(ran) })
	order(api.AgentStop)
	r.eventually("it is stopped", func() bool { return state().State == api.AgentStopped })
	if left := r.leftovers(); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}

// An agent does not outlive a credential: it is asked to end, and started anew
// with another, which is no failure of its. Each is revoked after its life, and
// the last with the supervisor's own end.
func TestAgentIsStartedAnewWhenItsCredentialEnds(t *testing.T) {
	l := &lessor{}
	r := newRig(t, options{provider: l, more: map[string]string{"helper": `kind: Agent
command: [sh, -c, 'T=$SHORT; trap "echo asked-$T >>ran; exit 0" TERM; echo $T >>ran; while :; do sleep 0.05; done']
credentials: [{env: SHORT, from: "vault:300ms#token"}]
restart: {backoff: 10ms, most: 20ms, limit: 1 in 10m}`}})
	r.BeginAgents()
	lines := func() []string {
		text, _ := os.ReadFile(r.workspace + "/ran")
		return strings.Fields(string(text))
	}
	r.eventually("it had four credentials", func() bool { return len(lines()) >= 7 })
	for i, want := range []string{"value-00000001", "asked-value-00000001", "value-00000002", "asked-value-00000002", "value-00000003", "asked-value-00000003", "value-00000004"} {
		if got := lines()[i]; got != want {
			t.Errorf("line %d is %q, want %q", i, got, want)
		}
	}
	if a := r.agents.rows()[0]; a.State == api.AgentDown || !strings.Contains(r.log.String(), "a command has outlived its credentials, and is started anew") {
		t.Errorf("it is %+v", a)
	}
	check(t, r.Close())
	r.eventually("all are revoked", func() bool { return l.left() == 0 })
}

func TestAgentIsStartedAgainLaterEachTimeAndNotForEver(t *testing.T) {
	r := policy.Restart{Backoff: time.Second, Most: 5 * time.Second, Limit: policy.RestartLimit{Count: 3, In: time.Minute}}
	began := time.Now()
	var p pace
	for i, c := range []struct {
		at   time.Duration // after the beginning
		life life
		wait time.Duration
		down bool
	}{
		{0, life{failed: true}, time.Second, false},
		{1, life{failed: true}, 2 * time.Second, false},
		{2, life{problem: "no vault"}, 4 * time.Second, false}, // which does not count
		{3, life{}, 5 * time.Second, false},
		{4, life{failed: true}, 5 * time.Second, false},
		{61, life{failed: true, lasted: 5 * time.Second}, time.Second, false}, // the first two are too long ago
		{62, life{failed: true}, 2 * time.Second, false},
		{63, life{failed: true}, 4 * time.Second, true},
	} {
		wait, down := p.next(r, c.life, began.Add(c.at*time.Second))
		if wait != c.wait || down != c.down {
			t.Errorf("%d: wait %v, down %v", i, wait, down)
		}
	}
	p = pace{}
	r.Limit = policy.RestartLimit{}
	for range 1000 {
		if _, down := p.next(r, life{failed: true}, began); down || len(p.ends) > 0 {
			t.Fatal("without a limit it stays down")
		}
	}
}

func TestAnswersSayHowAnAgentIs(t *testing.T) {
	bad := errors.New("status 503")
	began := time.Now()
	h := health{ready: &policy.Ready{Within: time.Minute, Every: 10 * time.Second, Failures: 3}, began: began}
	if h.begin() != api.AgentStarting {
		t.Errorf("it begins as %s", h.state)
	}
	for i, c := range []struct {
		at       time.Duration
		err      error
		state    string
		hopeless bool
		pause    time.Duration
	}{
		{0, bad, api.AgentStarting, false, firstAsks},
		{59, bad, api.AgentStarting, false, firstAsks},
		{59, nil, api.AgentReady, false, 10 * time.Second},
		{100, bad, api.AgentUnhealthy, false, 10 * time.Second},
		{110, bad, api.AgentUnhealthy, false, 10 * time.Second},
		{120, nil, api.AgentReady, false, 10 * time.Second},
		{130, bad, api.AgentUnhealthy, false, 10 * time.Second},
		{140, bad, api.AgentUnhealthy, false, 10 * time.Second},
		{150, bad, api.AgentUnhealthy, true, 10 * time.Second},
	} {
		state, hopeless := h.saw(c.err, began.Add(c.at*time.Second))
		if state != c.state || hopeless != c.hopeless || h.pause() != c.pause {
			t.Errorf("%d: %s, hopeless %v, pause %v", i, state, hopeless, h.pause())
		}
	}
	h = health{ready: h.ready, began: began}
	h.begin()
	if _, hopeless := h.saw(bad, began.Add(time.Minute)); !hopeless {
		t.Error("one that is not ready in time is waited for")
	}
}

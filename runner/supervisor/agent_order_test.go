package supervisor

import (
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/runner/api"
)

// Whoever stops an agent and starts it before it has ended gets another, at
// once when it has, as often as that is done.
func TestAgentThatIsStartedWhileItStopsIsStartedAnew(t *testing.T) {
	r := newRig(t, options{more: map[string]string{"helper": helper(
		`trap "while ! rm end; do sleep 0.02; done; exit 0" TERM; echo up >>ran; while :; do sleep 0.02; done`,
		"stop: {grace: 60s}", "restart: {backoff: 1h, most: 1h}")["helper"]}})
	r.BeginAgents()
	for i := range 3 {
		r.eventually("it runs", func() bool { return len(r.written()) == i+1 && r.helperIs(api.AgentRunning).Sandbox != "" })
		r.order(api.AgentStop)
		if i < 2 { // then both orders come before anybody has looked
			r.helperIs(api.AgentStopping)
		}
		r.order(api.AgentStart)
		r.touch("end")
	}
	r.eventually("it runs anew", func() bool { return len(r.written()) == 4 })
	r.order(api.AgentStart) // the control: one that lives, and is to, is left alone
	if a := r.helperIs(api.AgentRunning); a.Restarts != 3 || len(r.written()) != 4 {
		t.Errorf("it is %+v", a)
	}
	r.order(api.AgentStop)
	r.helperIs(api.AgentStopping)
	r.touch("end")
	r.helperIs(api.AgentStopped)
}

// The limit of restarts is for ends of one policy, under one order: another
// policy, and an operator's start, begin with none, also where they come while
// the agent waits to be started again.
func TestRestartLimitCountsTheEndsOfOneWishAlone(t *testing.T) {
	r := newRig(t, options{})
	r.BeginAgents()
	fails := func(code string) map[string]string {
		return helper("echo "+code+" >>ran; exit "+code, "restart: {backoff: 1h, most: 1h, limit: 2 in 10m}")
	}
	ended := func(n int) {
		t.Helper()
		r.eventually("it has ended once more", func() bool { return len(r.written()) == n && r.helperIs(api.AgentBackOff).Sandbox == "" })
		r.eventually("it waits", func() bool { return strings.Count(r.log.String(), "is to be started again") == n })
	}
	r.reload(fails("1"))
	ended(1)
	for n := 2; n <= 4; n++ { // each another policy
		r.reload(fails(strings.Repeat("1", n-1) + "2"))
		ended(n)
	}
	for n := 5; n <= 7; n++ {
		r.order(api.AgentStart)
		ended(n)
	}
	r.reload(helper("echo 3 >>ran; exit 3", "restart: {backoff: 10ms, most: 20ms, limit: 2 in 10m}"))
	if a := r.helperIs(api.AgentDown); len(r.written()) != 10 {
		t.Errorf("control: it is %+v after %q", a, r.written())
	}
}

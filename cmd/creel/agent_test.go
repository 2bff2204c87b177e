package main

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/server/servertest"
)

func agentRig(t *testing.T) *rig {
	host := &servertest.Host{Agents: []api.Agent{
		{Name: "asleep", State: api.AgentDown, Since: time.Now(), Problem: "it ended:\x1b[2J exit code 3", Restarts: 5},
		{Name: "awake", State: api.AgentReady, Since: time.Now(), Sandbox: "0123456789ab"},
	}}
	return rigOf(t, host, host)
}

func TestOrdersForAgents(t *testing.T) {
	r := agentRig(t)
	for _, order := range []string{"start", "stop", "restart"} {
		got := r.run(t, "agent", order, "awake", "asleep")
		got.want(t, 0)
		if got.stdout != "awake\nasleep\n" {
			t.Errorf("%s printed %q", order, got.stdout)
		}
		r.run(t, "agent", order, "awake", "nobody").want(t, 1, `no agent "nobody" to `+order, "creel ps")
		r.run(t, "agent", order).want(t, 125, "takes names")
	}
}

// An agent without a sandbox has a row of its own, and what is wrong with it is
// told beside the list.
func TestPsTellsOfAgentsThatAreDown(t *testing.T) {
	r := agentRig(t)
	got := r.run(t, "ps")
	got.want(t, 0, "creel: notice: agent asleep is down: it ended:")
	lines := strings.Split(got.stdout, "\n")
	if len(lines) != 3 || !regexp.MustCompile(`^- +asleep +- +- +.* ago +down +0 +- +-$`).MatchString(lines[1]) {
		t.Errorf("rows %q", lines)
	}
	if strings.ContainsRune(got.stdout+got.stderr, 0x1b) {
		t.Errorf("a terminal is told %q %q", got.stdout, got.stderr)
	}
	var reply api.PsReply
	if err := api.Decode([]byte(r.run(t, "ps", "--json").stdout), &reply); err != nil || len(reply.Agents) != 2 || reply.Agents[0].Restarts != 5 {
		t.Errorf("reply %+v, %v", reply, err)
	}
}

func TestNamesOfAgentsAreCompleted(t *testing.T) {
	if got := agentRig(t).run(t, "__complete", "--", "agent", "restart", "a"); got.stdout != "asleep\nawake\n" {
		t.Errorf("completed %q", got.stdout)
	}
}

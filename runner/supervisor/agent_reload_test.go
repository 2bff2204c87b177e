package supervisor

import (
	"os"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/runner/api"
)

// helper is the policy of an agent that runs a script, and more lines of it.
func helper(script string, more ...string) map[string]string {
	return map[string]string{"exec-default": "", "helper": "kind: Agent\ncommand: [sh, -c, '" + script + "']\n" + strings.Join(more, "\n")}
}

// reload puts policies in force.
func (r *rig) reload(files map[string]string) {
	r.t.Helper()
	r.load = func() (*Declared, error) { return r.declare(files) }
	check(r.t, r.Reload())
}

// order gives an operator's order about the agent helper.
func (r *rig) order(what string) {
	r.t.Helper()
	_, err := r.OrderAgents(r.t.Context(), &api.AgentRequest{Order: what, Names: []string{"helper"}})
	check(r.t, err)
}

// helperIs waits until the agent helper is in a state, and gives it.
func (r *rig) helperIs(state string) (found api.Agent) {
	r.t.Helper()
	r.eventually("the agent is "+state, func() bool {
		for _, found = range r.agents.rows() {
			if found.Name == "helper" {
				return found.State == state
			}
		}
		return false
	})
	return found
}

// written are the lines that agents have written into the workspace so far.
func (r *rig) written() []string {
	text, _ := os.ReadFile(r.workspace + "/ran")
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")[:strings.Count(string(text), "\n")]
}

// touch makes a file in the workspace.
func (r *rig) touch(name string) {
	r.t.Helper()
	check(r.t, os.WriteFile(r.workspace+"/"+name, nil, 0o666))
}

// A life that begins when another reading is in force already, and agents have
// not been told yet, is of one reading all the same: with the filter of its
// policy, be that gone by then or another.
func TestAgentThatBeginsAmidAReloadHasTheFilterOfItsPolicy(t *testing.T) {
	r := newRig(t, options{})
	r.BeginAgents()
	r.reload(helper("grep Seccomp_filters: /proc/self/status >>ran; exec sleep 1000"))
	r.eventually("it runs", func() bool { return len(r.written()) == 1 })
	want := r.written()[0]
	if !strings.HasSuffix(want, "\t2") {
		t.Errorf("control: an agent has %s", want)
	}
	before := r.agents.lifeOf("helper").filter
	other, err := r.declare(helper("exit 1"))
	check(t, err)
	other.Filters["helper"] = append(other.Filters["helper"][:len(before):len(before)], before...)
	gone, err := r.declare(map[string]string{"exec-default": ""})
	check(t, err)
	for i, declared := range []*Declared{gone, other} {
		r.declared.Store(declared) // as Reload does before it tells agents
		r.order(api.AgentRestart)
		r.eventually("it runs anew", func() bool { return len(r.written()) == i+2 })
		inv := r.agents.lifeOf("helper")
		if got := r.written()[i+1]; got != want || string(inv.filter) != string(before) {
			t.Errorf("reading %d: it has %s, and a filter of %d bytes instead of %d", i, got, len(inv.filter), len(before))
		}
	}
}

// What is only for people to read may be another without an agent's end; its
// next life is held to it.
func TestAgentIsHeldToTheReviewThatWasDeclaredLast(t *testing.T) {
	r := newRig(t, options{})
	r.BeginAgents()
	strict := func(reviewBy string) {
		r.load = func() (*Declared, error) {
			declared, err := r.declare(helper("exec sleep 1000", "restart: {backoff: 10ms, most: 20ms}", "reviewBy: "+reviewBy))
			if err == nil {
				declared.Config.Strict = true
			}
			return declared, err
		}
		check(t, r.Reload())
	}
	strict("2001-01-01")
	if a := r.helperIs(api.AgentBackOff); !strings.Contains(a.Problem, "overdue") {
		t.Errorf("it is %+v", a)
	}
	strict("2099-01-01")
	first := r.helperIs(api.AgentRunning)
	strict("2001-01-01")
	if a := r.helperIs(api.AgentRunning); a.Sandbox != first.Sandbox {
		t.Errorf("another day of review made it %+v of %+v", a, first)
	}
	r.order(api.AgentRestart)
	r.eventually("it is refused again", func() bool { return strings.Contains(r.helperIs(api.AgentBackOff).Problem, "overdue") })
}

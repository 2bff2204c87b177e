package supervisor

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/runner/api"
)

// logsOf is what Logs gives of a word.
func (r *rig) logsOf(word string) (text string, err error) {
	err = r.Logs(r.t.Context(), &api.LogsRequest{ID: word}, func(c api.LogChunk) error {
		text += string(c.Data)
		return nil
	})
	return text, err
}

// The word of an agent's name means the agent, also where somebody's sandbox has
// an ID that begins so, and also while the agent has none.
func TestNameOfAnAgentNeverMeansAnothersSandbox(t *testing.T) {
	r := newRig(t, options{})
	r.BeginAgents()
	c := r.start(shell("sleep 1000"), "")
	id := r.started(c)
	for id[0] < 'a' { // a name begins with a letter, and an ID with one as often as not
		c.cancel(os.ErrClosed)
		<-c.done
		c = r.start(shell("sleep 1000"), "")
		id = r.started(c)
	}
	defer func() { c.cancel(os.ErrClosed); <-c.done }()
	name := id[:4]
	r.reload(map[string]string{"exec-default": "", name: helper("echo agent; exec sleep 1000")["helper"]})
	r.eventually("the agent runs", func() bool { return r.agents.rows()[0].State == api.AgentRunning })
	own := r.agents.rows()[0].Sandbox
	if inspected, err := r.Inspect(t.Context(), name); err != nil || inspected.Sandbox.ID != own {
		t.Errorf("inspect: %+v, %v", inspected, err)
	}
	if killed, err := r.Kill(t.Context(), &api.KillRequest{IDs: []string{name}, Signal: 9}); err != nil || !slices.Equal(killed.IDs, []string{own}) {
		t.Errorf("kill: %+v, %v", killed, err)
	}
	_, err := r.OrderAgents(t.Context(), &api.AgentRequest{Order: api.AgentStop, Names: []string{name}})
	check(t, err)
	r.eventually("the agent is stopped", func() bool { return r.agents.rows()[0].State == api.AgentStopped })
	killed, err := r.Kill(t.Context(), &api.KillRequest{IDs: []string{name}, Signal: 9})
	if told := asAPI(t, err); killed != nil || told.Code != "not-found" || !strings.Contains(told.Message, "agent "+name+" has no sandbox: it is stopped") {
		t.Errorf("kill of one that is stopped: %+v, %v", killed, told)
	}
	if inspected, err := r.Inspect(t.Context(), id[:5]); err != nil || inspected.Sandbox.ID != id || inspected.Sandbox.State != stateRunning {
		t.Errorf("control: the command is %+v, %v", inspected, err)
	}
}

// Why an agent is down its last sandbox tells, by the agent's name, however many
// commands have ended since, and however often it could not be started.
func TestLogOfAnAgentThatIsDownIsThatOfItsLastSandbox(t *testing.T) {
	r := newRig(t, options{})
	r.BeginAgents()
	lines := []string{"restart: {backoff: 10ms, most: 20ms, limit: 1 in 10m}", "logs: {keep: 64KiB}"}
	missing := append(lines, "mounts: [{kind: workspace, source: /no/such/place, target: /workspace, mode: rw}]")
	r.reload(helper("echo never", missing...))
	r.eventually("it was tried", func() bool { return strings.Contains(r.helperIs(api.AgentBackOff).Problem, "/no/such/place") })
	if text, err := r.logsOf("helper"); err != nil || text != "" {
		t.Errorf("before it was ever started: %q, %v", text, err)
	}
	const last = `if [ -e one ]; then echo the last; else touch one; echo the first; fi; exit 3`
	r.reload(helper(last, lines...))
	r.helperIs(api.AgentDown)
	r.mu.Lock()
	ids := r.ended
	r.ended = nil // as after many commands
	r.mu.Unlock()
	inspected, err := r.Inspect(t.Context(), "helper")
	if err != nil || inspected.Sandbox.State != "ended" || inspected.Sandbox.ID != ids[len(ids)-1].id {
		t.Errorf("inspect: %+v, %v", inspected, err)
	}
	tries := strings.Count(r.log.String(), "launch failed")
	r.reload(helper(last, missing...))
	r.eventually("it was tried", func() bool { return strings.Count(r.log.String(), "launch failed") > tries })
	if text, err := r.logsOf("helper"); err != nil || text != "the last\n" {
		t.Errorf("logs: %q, %v", text, err)
	}
	r.reload(map[string]string{"exec-default": ""})
	r.eventually("control: of one that is not declared there is nothing by its name", func() bool {
		_, err := r.logsOf("helper")
		return err != nil && asAPI(t, err).Code == "not-found"
	})
}

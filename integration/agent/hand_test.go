package agent

import (
	_ "embed"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
)

//go:embed hand.py
var handing string

// hostile is a rig whose agent has its hands on the workspace of its commands.
func hostile(t *testing.T) *rig {
	t.Helper()
	r := start(t, options{Options: testrig.Options{Policy: "pool: {warm: 1}"}})
	before := r.await("ready")
	check(t, os.WriteFile(r.Workspace+"/hand.py", []byte(handing), 0o644))
	r.declare(fmt.Sprintf("mounts: [{kind: state, source: %s, target: /state, mode: rw}, {kind: workspace, source: %s, target: /workspace, mode: rw}, "+
		"{kind: data, source: %s/agent, target: /agent}, {kind: exec, target: /run/creel/exec.sock}]", r.state, r.Workspace, r.Dir))
	r.Reload()
	r.anew(before) // which has the workspace
	return r
}

// commands counts those that run.
func (r *rig) commands() (n int) {
	for _, s := range r.List() {
		if s.Policy == "exec-default" && s.State == "running" {
			n++
		}
	}
	return n
}

// Commands of an agent end with it, also where it has handed the connections
// that they end with to one another.
func TestCommandsEndWithTheirAgentWhoeverHoldsItsConnections(t *testing.T) {
	r := hostile(t)
	before := r.agent()
	if code, printed := r.run("python3 /workspace/hand.py crossed"); code != 0 {
		t.Fatalf("%d, %q", code, printed)
	}
	if r.commands() != 2 {
		t.Fatalf("control: without the program that began them there are %+v", r.List())
	}
	check(t, syscall.Kill(command(r), syscall.SIGKILL))
	r.anew(before)
	r.Eventually("its commands have ended", func() bool { return r.commands() == 0 })
}

// The socket of an agent is no way for a command, which the agent has lent it.
func TestCommandCannotUseTheSocketThatItsAgentLends(t *testing.T) {
	r := hostile(t)
	if code, printed := r.run("python3 /workspace/hand.py lent"); code != 0 {
		t.Fatalf("%d, %q", code, printed)
	}
	r.Eventually("the command has tried", func() bool { _, err := os.Stat(r.Workspace + "/file.said"); return err == nil })
	said, err := os.ReadFile(r.Workspace + "/file.said")
	check(t, err)
	if !strings.Contains(string(said), "no sandbox may use this socket") {
		t.Errorf("the command was answered %s", said)
	}
}

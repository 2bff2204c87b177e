package agent

import (
	"os"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// Two agents have one user where an operator gave them one, and know nothing of
// one another: each names its sessions as it likes.
func TestAgentsOfOneUserShareNoSession(t *testing.T) {
	r := start(t, options{Options: testrig.Options{Policy: "scope: session"}})
	another := r.twin("another")
	r.await("ready")
	r.Eventually("the other is ready", func() bool { return another.Agents()[1].State == "ready" })
	const leave, look = "echo left >/tmp/file", "cat /tmp/file 2>/dev/null || echo none"
	by := func(r *rig, script string) string {
		_, printed := r.run(`/agent/creel exec --session main -- sh -c '` + script + `'`)
		return printed
	}
	byTheUser := func(script string) string {
		got := r.Run(r.CommandAs(testrig.User, 65534, "exec", "--session", "main", "--", "sh", "-c", script))
		return strings.TrimSpace(got.Stdout + got.Stderr)
	}
	if got := by(r, leave+" && echo ok"); got != "ok" {
		t.Fatalf("control: a command of the first: %q", got)
	}
	if got := by(r, look); got != "left" {
		t.Errorf("control: another command of the first finds %q", got)
	}
	if got := by(another, look); got != "none" {
		t.Errorf("the other agent finds %q", got)
	}
	if got := byTheUser(look); got != "none" {
		t.Errorf("their user, who is no agent, finds %q", got)
	}
	before := r.agent()
	r.Creel("agent", "restart", "agent")
	r.anew(before)
	if got := by(r, look); got != "left" {
		t.Errorf("control: the first, which came back, finds %q", got)
	}
}

// twin declares another agent, which is as the first and has its user.
func (r *rig) twin(name string) *rig {
	r.t.Helper()
	twin := &rig{Rig: r.Rig, t: r.t, at: freePort(r.t), state: r.Dir + "/state-of-" + name}
	check(r.t, os.Mkdir(twin.state, 0o755))
	check(r.t, os.Chown(twin.state, testrig.User, testrig.User))
	_, port, _ := strings.Cut(r.at, ":")
	_, its, _ := strings.Cut(twin.at, ":")
	text, err := os.ReadFile(r.Dir + "/policies/agent.yaml")
	check(r.t, err)
	r.WritePolicy(name, strings.NewReplacer("name: agent\n", "name: "+name+"\n", r.state, twin.state, port, its).Replace(string(text)))
	r.Reload()
	return twin
}

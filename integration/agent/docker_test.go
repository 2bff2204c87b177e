package agent

import (
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// An agent of the docker engine is kept up as any is, and finds its socket where
// its policy mounts it.
func TestAgentOfTheDockerEngineIsKeptUp(t *testing.T) {
	o := options{Agent: "userNamespace: off"}
	o.Target = testrig.Target{Maker: "docker", Root: "host"}
	r := start(t, o)
	before := r.await("ready")
	if code, printed := r.run("/agent/creel exec -- echo from a sandbox of its own"); code != 0 || printed != "from a sandbox of its own" {
		t.Errorf("a command of the agent's: %d, %q", code, printed)
	}
	if code, printed := r.run("ls /run/creel"); code != 0 || strings.TrimSpace(printed) != "exec.sock" {
		t.Errorf("what it finds of creel: %d, %q", code, printed)
	}
	if got := r.Creel("kill", "agent"); got.Code != 0 {
		t.Fatalf("kill: %+v", got)
	}
	r.anew(before)
	r.Creel("agent", "stop", "agent")
	r.await("stopped")
	r.Eventually("nothing is left", func() bool { return len(r.List()) == 0 })
}

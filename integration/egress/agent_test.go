package egress_test

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// inside are the kinds of sandbox that a script can run in, each with what runs
// it there.
var inside = map[string]func(*site, *testing.T) func(script string) testrig.Result{
	"a command": func(s *site, _ *testing.T) func(string) testrig.Result { return s.Shell },
	"an agent":  (*site).agent,
}

// agent has creeld keep up an agent with the network of the site's commands.
func (s *site) agent(t *testing.T) func(script string) testrig.Result {
	t.Helper()
	files := s.Dir + "/agent"
	if err := errors.Join(os.Mkdir(files, 0o755), os.WriteFile(files+"/gateway.py", []byte(testrig.Gateway), 0o644)); err != nil {
		t.Fatal(err)
	}
	s.WritePolicy("agent", fmt.Sprintf(`apiVersion: creel/v1
kind: Agent
name: agent
justification: tests keep it up
owner: tests@example.org
reviewBy: 2099-01-01
root: {host: true}
user: "%d:%[1]d"
mounts:
  - {kind: workspace, source: %s, target: /workspace, mode: rw}
  - {kind: data, source: %s, target: /agent}
command: [python3, /agent/gateway.py, "18790"]
publish: 127.0.0.1:18790
network: {gateway: '127.0.0.1:18789', egress: [%s]}
`, testrig.User, s.Workspace, files, listedServices))
	s.Reload()
	const address = "127.0.0.1:18790"
	s.Eventually("the agent listens", func() bool {
		_, err := testrig.Ask(address, "true")
		return err == nil
	})
	return func(script string) testrig.Result {
		t.Helper()
		told, err := testrig.Ask(address, script)
		if err != nil {
			t.Fatalf("ask the agent: %v\n%s", err, s.Log())
		}
		return told
	}
}

// each has a test look from inside each kind of sandbox, made by each runtime.
func each(t *testing.T, look func(t *testing.T, s *site, shell func(script string) testrig.Result)) {
	for _, runtime := range testrig.Runtimes {
		for kind, shell := range inside {
			t.Run(runtime+" "+kind, func(t *testing.T) {
				s := newSite(t, runtime)
				look(t, s, shell(s, t))
			})
		}
	}
}

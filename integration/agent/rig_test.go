// Package agent holds the tests of agents: of long-running sandboxes that a
// real creeld keeps up, with a small HTTP server in the place of OpenClaw.
//
// It imports only testrig, and never ends a process but those of its rig and of
// the rig's sandboxes.
package agent

import (
	"bytes"
	_ "embed"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/integration/testrig"
)

//go:embed agent.py
var program string

func TestMain(m *testing.M) { os.Exit(testrig.Main(m)) }

// rig is a supervisor with one agent, named agent.
type rig struct {
	*testrig.Rig
	t     *testing.T
	at    string // where the agent is published
	state string // its directory on the host
}

// options change the rig's agent from its defaults.
type options struct {
	testrig.Options
	// Agent is lines of the agent's policy, which replace its top-level keys.
	Agent string
	// Told are the files that the agent finds in its state; see agent.py.
	Told []string
}

// start makes the agent's directories and its policy, and puts it in force.
func start(t *testing.T, o options) *rig {
	t.Helper()
	r := &rig{Rig: testrig.Start(t, o.Options), t: t, at: freePort(t)}
	r.state = r.Dir + "/state-of-agent"
	check(t, os.Mkdir(r.state, 0o755))
	check(t, os.Chown(r.state, testrig.User, testrig.User))
	for _, name := range o.Told {
		r.tell(name, "")
	}
	files := r.Dir + "/agent"
	check(t, os.Mkdir(files, 0o755))
	check(t, os.WriteFile(files+"/agent.py", []byte(program), 0o644))
	creel, err := os.ReadFile(filepath.Join(testrig.Binaries(t), "creel"))
	check(t, err)
	check(t, os.WriteFile(files+"/creel", creel, 0o755))
	r.declare(o.Agent)
	r.Reload()
	return r
}

// freePort is an address at which nobody listens.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	return l.Addr().String()
}

// declare writes the agent's policy.
func (r *rig) declare(more string) {
	r.t.Helper()
	_, port, _ := strings.Cut(r.at, ":")
	text := more + "\n"
	for _, k := range []struct{ key, value string }{
		{"apiVersion", "creel/v1"}, {"kind", "Agent"}, {"name", "agent"},
		{"justification", "tests keep it up"}, {"owner", "tests@example.org"}, {"reviewBy", "2099-01-01"},
		{"root", "{host: true}"}, {"user", fmt.Sprintf(`"%d:%[1]d"`, testrig.User)},
		{"mounts", fmt.Sprintf("[{kind: state, source: %s, target: /state, mode: rw}, {kind: data, source: %s/agent, target: /agent}, {kind: exec, target: /run/creel/exec.sock}]", r.state, r.Dir)},
		{"command", "[python3, /agent/agent.py, \"" + port + "\"]"},
		{"publish", r.at}, {"ready", "{http: /healthz, every: 100ms, timeout: 2s, failures: 2}"},
		{"restart", "{backoff: 10ms, most: 1s}"}, {"limits", "{memory: 128MiB}"},
	} {
		if !strings.Contains("\n"+more, "\n"+k.key+":") {
			text += k.key + ": " + k.value + "\n"
		}
	}
	r.WritePolicy("agent", text)
}

// tell makes a file in the agent's state, and untell removes it.
func (r *rig) tell(name, text string) {
	r.t.Helper()
	check(r.t, os.WriteFile(r.state+"/"+name, []byte(text), 0o644))
}

func (r *rig) untell(name string) {
	r.t.Helper()
	check(r.t, os.Remove(r.state+"/"+name))
}

// events are what the agents so far have written down.
func (r *rig) events() []string {
	data, err := os.ReadFile(r.state + "/events")
	if err != nil {
		return nil
	}
	return strings.Split(strings.TrimSpace(string(data)), "\n")
}

func (r *rig) count(event string) int {
	n := 0
	for _, e := range r.events() {
		if strings.HasPrefix(e, event) {
			n++
		}
	}
	return n
}

// agent is what ps says of the agent.
func (r *rig) agent() testrig.Agent {
	r.t.Helper()
	for _, a := range r.Agents() {
		if a.Name == "agent" {
			return a
		}
	}
	return testrig.Agent{}
}

// await waits until ps says that the agent is in a state, and gives it.
func (r *rig) await(state string) (found testrig.Agent) {
	r.t.Helper()
	r.Eventually("the agent is "+state, func() bool {
		found = r.agent()
		return found.State == state
	})
	return found
}

// anew waits until another sandbox of the agent is ready than the one before.
func (r *rig) anew(before testrig.Agent) (found testrig.Agent) {
	r.t.Helper()
	r.Eventually("another agent is ready", func() bool {
		found = r.agent()
		return found.State == "ready" && found.Sandbox != before.Sandbox
	})
	return found
}

// sandbox is the one that ps lists for the agent.
func (r *rig) sandbox() testrig.Sandbox {
	r.t.Helper()
	for _, s := range r.List() {
		if s.Policy == "agent" {
			return s
		}
	}
	r.t.Fatalf("ps lists no sandbox of the agent: %+v", r.List())
	return testrig.Sandbox{}
}

// client makes a connection for each request, so that none outlives an agent.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}

// run has the agent run a script in its own sandbox, and gives its exit code and
// what it printed.
func (r *rig) run(script string) (code int, printed string) {
	r.t.Helper()
	answer, err := client.Post("http://"+r.at+"/", "text/plain", strings.NewReader(script))
	check(r.t, err)
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	check(r.t, err)
	first, rest, _ := bytes.Cut(data, []byte("\n"))
	if _, err := fmt.Sscan(string(first), &code); err != nil {
		r.t.Fatalf("the agent said %q", data)
	}
	return code, strings.TrimSpace(string(rest))
}

// left is all that there is of sandboxes on the host, by kind.
func (r *rig) left() map[string]int {
	group := r.Group()
	v1, _ := filepath.Glob("/sys/fs/cgroup/memory" + group + "/*/cgroup.procs")
	v2, _ := filepath.Glob("/sys/fs/cgroup" + group + "/*/cgroup.procs")
	bundles, _ := os.ReadDir(r.Dir + "/run/sandboxes")
	states, _ := os.ReadDir(r.Dir + "/run/oci")
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", r.Pid()))
	check(r.t, err)
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", r.Pid())) // a socket inside keeps a network namespace
	check(r.t, err)
	return map[string]int{
		"control groups": len(v1) + len(v2), "bundles": len(bundles), "states of the runtime": len(states),
		"mounts": strings.Count(string(mounts), "\n"), "open": len(open), "listed": len(r.List()),
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

package openclaw

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// agent is a gateway that creeld keeps up in a sandbox of its own.
type agent struct {
	rig     *testrig.Rig
	sandbox string // that ran when it was last looked at
}

// policy declares OpenClaw as an agent: it reaches the stand-ins and nothing
// else, and writes to its state and the workspace.
func (s *stage) policy() string {
	data := func(source, target string) string {
		return fmt.Sprintf("  - {kind: data, source: %s, target: %s}\n", source, target)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: creel/v1
kind: Agent
name: openclaw
justification: tests keep it up
owner: tests@example.org
reviewBy: 2099-01-01
root: {host: true}
user: "%d:%[1]d"
workdir: /workspace
command: [%s, /openclaw/node_modules/openclaw/openclaw.mjs, gateway, run]
mounts:
  - {kind: state, source: %s, target: /state, mode: rw}
  - {kind: workspace, source: %s, target: /workspace, mode: rw}
  - {kind: config, source: %s, target: /config/openclaw.json}
  - {kind: exec, target: /run/creel/exec.sock}
`, testrig.User, node("/openclaw"), s.claw.Data, s.Workspace, s.claw.config())
	b.WriteString(data(s.claw.install, "/openclaw") + data(s.Dir+"/plugin", "/plugin") + data(s.Dir+"/bin", "/creel"))
	b.WriteString("env:\n  OPENCLAW_CONFIG_PATH: /config/openclaw.json\n")
	for _, entry := range s.claw.env {
		name, value, _ := strings.Cut(entry, "=")
		fmt.Fprintf(&b, "  %s: %s\n", name, value)
	}
	fmt.Fprintf(&b, `credentials:
  - {env: OPENCLAW_GATEWAY_TOKEN, from: "systemd:gateway-token"}
  - {env: PROVIDER_KEY, from: "systemd:provider-key"}
  - {env: BOT_TOKEN, from: "systemd:bot-token"}
network: {gateway: '%s'}
publish: 127.0.0.1:%d
ready: {http: /healthz, within: 3m, every: 2s, timeout: 10s, failures: 3}
restart: {backoff: 10ms, most: 1s}
tmp: {size: 512MiB, inodes: 100000}
limits: {memory: 2GiB, cpus: 2, pids: 512, nofile: 4096}
`, strings.TrimPrefix(s.standIns, "http://"), s.claw.Port)
	return b.String()
}

// startAgent declares OpenClaw, if it is not yet, and returns once it is ready.
func (s *stage) startAgent() {
	s.claw.t.Helper()
	if _, err := os.Stat(s.Policies + "/openclaw.yaml"); err != nil {
		client, err := os.ReadFile(filepath.Join(testrig.Binaries(s.claw.t), "creel"))
		check(s.claw.t, err)
		check(s.claw.t, os.Mkdir(s.Dir+"/bin", 0o755))
		check(s.claw.t, os.WriteFile(s.Dir+"/bin/creel", client, 0o755))
		s.WritePolicy("openclaw", s.policy())
		s.Reload()
	}
	a := &agent{rig: s.Rig}
	s.claw.await(a)
	a.sandbox = a.row().Sandbox
}

// row is what ps says of it.
func (a *agent) row() testrig.Agent {
	for _, row := range a.rig.Agents() {
		if row.Name == "openclaw" {
			return row
		}
	}
	return testrig.Agent{}
}

func (a *agent) ended() bool {
	state := a.row().State
	return state == "down" || state == "stopped" || state == ""
}

func (a *agent) log(testing.TB) string {
	return fmt.Sprintf("%+v\n%s\n%s", a.row(), a.rig.Creel("logs", a.row().Sandbox).Stdout, a.rig.Log())
}

// pid is that of OpenClaw itself, the first child of its sandbox's init.
func (a *agent) pid(t testing.TB) int {
	t.Helper()
	for _, one := range a.rig.List() {
		if one.ID != a.row().Sandbox {
			continue
		}
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", one.Pid)) // each has its own (proc(5))
		check(t, err)
		var pids []int
		for _, thread := range threads {
			children, err := os.ReadFile(thread)
			check(t, err)
			for _, child := range strings.Fields(string(children)) {
				pid, err := strconv.Atoi(child)
				check(t, err)
				pids = append(pids, pid)
			}
		}
		if len(pids) > 0 {
			return slices.Min(pids)
		}
	}
	t.Fatalf("OpenClaw's process is not found: %+v", a.row())
	return 0
}

func (a *agent) kill(t testing.TB) {
	t.Helper()
	check(t, syscall.Kill(a.pid(t), syscall.SIGKILL))
	if !a.rig.Holds(func() bool { return a.row().Sandbox != a.sandbox }) {
		t.Fatalf("it goes on: %s", a.log(t))
	}
}

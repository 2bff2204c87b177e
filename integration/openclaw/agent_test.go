package openclaw

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
	"github.com/creel-sandbox/creel/profiles"
)

// agent is a gateway that creeld keeps up in a sandbox of its own.
type agent struct {
	rig     *testrig.Rig
	sandbox string // that ran when it was last looked at
}

// policy is the one that is shipped for OpenClaw, with what this machine and the
// tests have in other places.
func (s *stage) policy() string {
	shipped, err := fs.ReadFile(profiles.Policies(), "openclaw-agent.yaml")
	check(s.claw.t, err)
	text := string(shipped)
	data := func(source, target string) string {
		return fmt.Sprintf("  - {kind: data, source: %s, target: %s}\n", source, target)
	}
	secret := func(env, name string) string { return fmt.Sprintf("  - {env: %s, from: \"systemd:%s\"}\n", env, name) }
	for _, r := range []struct{ old, new string }{
		{"user: openclaw\n", fmt.Sprintf("user: %q\n", fmt.Sprintf("%d:%[1]d", testrig.User))},
		{"[openclaw, gateway, run]", fmt.Sprintf("[%s, /openclaw/node_modules/openclaw/openclaw.mjs, gateway, run]", Node("/openclaw"))},
		{"source: /var/lib/openclaw,", "source: " + s.claw.Data + ","},
		{"source: /srv/openclaw/workspace,", "source: " + s.Workspace + ","},
		{"source: /var/log/openclaw,", "source: " + s.claw.Dir + "/logs,"},
		{"source: /srv/openclaw/openclaw.json,", "source: " + s.claw.config() + ","},
		{"source: /srv/openclaw/plugin,", "source: " + s.Dir + "/plugin,"},
		{"tmp:", data(s.claw.install, "/openclaw") + data(s.Dir+"/bin", "/creel") + data(s.authority, "/authority") + "tmp:"},
		{"env:\n", "env:\n  NODE_EXTRA_CA_CERTS: " + s.trusted("/authority") + "\n"},
		{"  - {env: ANTHROPIC_API_KEY, from: \"store:model-provider\"} ", secret("PROVIDER_KEY", "provider-key") + secret("BOT_TOKEN", "bot-token")},
		{"# network:\n#   egress: [api.anthropic.com:443, ", "network:\n  egress: [" + providerName + ":443, "},
		{"publish: 127.0.0.1:18789", fmt.Sprintf("publish: 127.0.0.1:%d\nrestart: {backoff: 10ms, most: 1s}", s.claw.Port)},
		{"within: 2m}", "within: 3m, every: 2s, timeout: 10s, failures: 3}"},
	} {
		if strings.Count(text, r.old) != 1 {
			s.claw.t.Fatalf("the shipped policy does not have %q once", r.old)
		}
		text = strings.Replace(text, r.old, r.new, 1)
	}
	return text
}

// startAgent declares OpenClaw, if it is not yet, and returns once it is ready.
func (s *stage) startAgent() {
	s.claw.t.Helper()
	if _, err := os.Stat(s.Policies + "/openclaw-agent.yaml"); err != nil {
		client, err := os.ReadFile(filepath.Join(testrig.Binaries(s.claw.t), "creel"))
		check(s.claw.t, err)
		check(s.claw.t, os.Mkdir(s.Dir+"/bin", 0o755))
		check(s.claw.t, os.WriteFile(s.Dir+"/bin/creel", client, 0o755))
		s.WritePolicy("openclaw-agent", s.policy())
		s.Reload()
	}
	a := &agent{rig: s.Rig}
	s.claw.await(a)
	a.sandbox = a.row().Sandbox
	s.forgiven()
}

// orderly has OpenClaw remember that a life ended as it should.
const orderly = `
import sqlite3, sys
with sqlite3.connect(sys.argv[1], timeout=20) as db:
    db.execute("UPDATE gateway_boot_lifecycle SET completed_at_ms = started_at_ms, outcome = 'clean_stop' WHERE completed_at_ms IS NULL")
`

// forgiven has OpenClaw not mind that its lives so far were ended by tests: with
// three such in five minutes behind it, it starts without its chats
// (gateway-boot-lifecycle in its dist), and tests of those may come next.
func (s *stage) forgiven() {
	s.claw.t.Helper()
	cmd := exec.Command("/usr/bin/python3", "-c", orderly, filepath.Join(s.claw.Data, ".openclaw/state/openclaw.sqlite"))
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: testrig.User, Gid: testrig.User}}
	if out, err := cmd.CombinedOutput(); err != nil {
		s.claw.t.Fatalf("have OpenClaw forget how it ended: %v\n%s", err, out)
	}
}

// row is what ps says of it.
func (a *agent) row() testrig.Agent {
	for _, row := range a.rig.Agents() {
		if row.Name == "openclaw-agent" {
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

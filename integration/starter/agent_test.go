package starter_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/internet"
	"github.com/creel-sandbox/creel/integration/openclaw"
	"github.com/creel-sandbox/creel/integration/testrig"
	"github.com/creel-sandbox/creel/profiles"
)

// agentName is the one starter policy that no command runs in.
const agentName = "openclaw-agent"

// TestStarterAgentIsKeptUpAsItIsShipped with nothing changed but this machine's
// user and directories, and the program.
func TestStarterAgentIsKeptUpAsItIsShipped(t *testing.T) {
	internet.New(t) // whose loopback is up, and on which nothing else listens
	dir, err := os.MkdirTemp("/run", "creel-starter-test-")
	check(t, err)
	t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
	check(t, os.WriteFile(dir+"/openclaw-gateway-token", []byte("token-of-the-gateway"), 0o400))
	r := testrig.Start(t, testrig.Options{Config: "secrets: {key: {file: " + testrig.SecretsKey(t) + "}}\n", Env: []string{"CREDENTIALS_DIRECTORY=" + dir}})
	give := r.Command("secret", "set", "model-provider")
	give.Stdin = strings.NewReader("key-of-the-model-provider")
	if got := r.Run(give); got.Code != 0 {
		t.Fatal(got.Stderr)
	}
	declareAgent(t, r)
	r.Eventually("it is ready", func() bool { return len(r.Agents()) == 1 && r.Agents()[0].State == "ready" })
	if list := r.List(); len(list) != 1 || len(list[0].Weaker) > 0 {
		t.Errorf("listed %+v", list)
	}
	for _, c := range []struct {
		script string
		code   int
		says   string // begins with it
	}{
		{"touch /state/a /workspace/a /logs/a /tmp/a && echo written", 0, "written"},
		{"touch /config/openclaw.json /config/a /usr/a /a /run/creel/a 2>/dev/null; ls -d /config/a /usr/a /a /run/creel/a 2>&1 | grep -c 'No such'", 0, "4"},
		{"echo hacked >/config/openclaw.json", 2, "sh:"},
		{"stat -c %u /plugin /plugin/index.js | uniq; id -u", 0, fmt.Sprintf("%d\n%[1]d\n", testrig.User)},
		{"chmod u+w /plugin/index.js; echo hacked >>/plugin/index.js", 2, ""},
		{"echo $HOME $OPENCLAW_STATE_DIR $PWD", 0, "/state /state/.openclaw /workspace"},
		{"printf %s $OPENCLAW_GATEWAY_TOKEN-$ANTHROPIC_API_KEY | wc -c", 0, "46"},
		{"/workspace/creel exec -- sh -c 'echo from a sandbox of its own; ls /'", 0, "from a sandbox of its own"},
	} {
		told, err := testrig.Ask("127.0.0.1:18789", c.script)
		check(t, err)
		if told.Code != c.code || !strings.HasPrefix(told.Stdout+told.Stderr, c.says) {
			t.Errorf("%s: it told %+v, want %d and %q", c.script, told, c.code, c.says)
		}
	}
}

// declareAgent puts the shipped policy in force.
func declareAgent(t *testing.T, r *testrig.Rig) {
	t.Helper()
	data, err := fs.ReadFile(profiles.Policies(), agentName+".yaml")
	check(t, err)
	for _, name := range []string{"/state", "/logs"} {
		check(t, os.Mkdir(r.Dir+name+"-of-agent", 0o755))
		check(t, os.Chown(r.Dir+name+"-of-agent", testrig.User, testrig.User))
	}
	openclaw.CopyPlugin(t, r.Dir+"/plugin", testrig.User)
	check(t, os.WriteFile(r.Dir+"/openclaw.json", []byte(testrig.Gateway), 0o644))
	creel, err := os.ReadFile(filepath.Join(testrig.Binaries(t), "creel"))
	check(t, err)
	check(t, os.WriteFile(r.Workspace+"/creel", creel, 0o755))
	r.WritePolicy(agentName, strings.NewReplacer(
		"user: openclaw\n", fmt.Sprintf("user: %q\n", fmt.Sprintf("%d:%d", testrig.User, testrig.User)),
		"/srv/openclaw/workspace", r.Workspace, "source: /var/lib/openclaw,", "source: "+r.Dir+"/state-of-agent,",
		"/var/log/openclaw", r.Dir+"/logs-of-agent", "/srv/openclaw/plugin", r.Dir+"/plugin", "/srv/openclaw/openclaw.json", r.Dir+"/openclaw.json",
		"command: [openclaw, gateway, run]", `command: [python3, /config/openclaw.json, "18789"]`,
	).Replace(string(data)))
	r.Reload()
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

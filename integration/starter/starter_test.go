// Package starter_test runs commands in sandboxes of the policies that creel
// ships, with nothing changed but this machine's user and directories.
package starter_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/internet"
	"github.com/creel-sandbox/creel/integration/testrig"
	"github.com/creel-sandbox/creel/profiles"
)

func TestMain(m *testing.M) { os.Exit(internet.Main(m)) }

// trial is one command and how it must end.
type trial struct {
	script string
	code   int
	says   string // on stdout or stderr
}

const (
	curl = "curl --silent --show-error --max-time 20 --cacert /workspace/ca.pem "
	// toGateway succeeds where something listens at the gateway's address.
	toGateway = "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 18789), 5); print(\"gateway\")'"
)

var trials = map[string][]trial{
	"exec-default": {
		{"echo hello > made && cat made", 0, "hello"},
		{toGateway, 0, "gateway"},
		{curl + "https://registry.npmjs.org/", 6, "resolve"},
	},
	"exec-offline": {
		{"echo hello > made && cat made", 0, "hello"},
		{toGateway, 1, "refused"},
	},
	"exec-readonly": {
		{"cat given", 0, "given"},
		{"echo hello > made", 2, "Read-only"},
		{toGateway, 1, "refused"},
	},
	"exec-build": {
		{"echo hello > made && cat made", 0, "hello"},
		{toGateway, 0, "gateway"},
		{curl + "https://registry.npmjs.org/", 0, "package"},
		{curl + "https://pypi.org/", 0, "package"},
		{curl + "https://files.pythonhosted.org/", 0, "package"},
		{curl + "https://example.org/", 56, "403"},
		{"printf '%s%s' ghp_ 16C7e42F292c6912E7710c838347Ae178B4a > leaked", 0, ""},
		{"true", 125, "there are credentials"},
	},
}

func TestStarterPoliciesDoWhatTheySay(t *testing.T) {
	shipped, err := fs.Glob(profiles.Policies(), "*.yaml")
	if err != nil || len(shipped) != len(trials)+1 { // the agent's is tried by itself
		t.Fatalf("%d policies are shipped and %d tried: %v", len(shipped), len(trials)+1, err)
	}
	net := internet.New(t)
	authority := net.NewAuthority()
	names := []string{"registry.npmjs.org", "pypi.org", "files.pythonhosted.org", "example.org"}
	net.Serve(authority, "93.184.216.34:443", false, names...).Answer("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\npackage")
	for _, name := range names {
		net.Name(name, "93.184.216.34")
	}
	net.Serve(authority, "127.0.0.1:18789", true, "gateway")
	for _, file := range shipped {
		name := strings.TrimSuffix(file, ".yaml")
		if name == agentName {
			continue
		}
		t.Run(name, func(t *testing.T) { try(t, name, authority.PEM()) })
	}
}

func try(t *testing.T, name string, authority []byte) {
	data, err := fs.ReadFile(profiles.Policies(), name+".yaml")
	if err != nil {
		t.Fatal(err)
	}
	r := testrig.Start(t, testrig.Options{})
	r.WritePolicy(name, strings.NewReplacer(
		"user: openclaw\n", fmt.Sprintf("user: %q\n", fmt.Sprintf("%d:%d", testrig.User, testrig.User)),
		"users: [openclaw]", `users: ["0"]`, "/srv/openclaw/workspace", r.Workspace,
	).Replace(string(data)))
	r.Reload()
	for file, text := range map[string][]byte{"given": []byte("given"), "ca.pem": authority} {
		if err := os.WriteFile(filepath.Join(r.Workspace, file), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range trials[name] {
		got := r.Creel("exec", "--policy", name, "--", "sh", "-c", c.script)
		if got.Code != c.code || !strings.Contains(strings.ToLower(got.Stdout+got.Stderr), strings.ToLower(c.says)) {
			t.Errorf("%s: %+v, want code %d and %q", c.script, got, c.code, c.says)
		}
	}
}

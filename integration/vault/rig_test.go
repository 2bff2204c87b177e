package vault

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/integration/testrig"
)

func TestMain(m *testing.M) { os.Exit(testrig.Main(m)) }

// rig starts creeld as a role of the server, which it logs in to with what
// systemd would have given it.
func rig(t testing.TB, s *Server, policy string) *testrig.Rig {
	t.Helper()
	return rigAt(t, s.Address, s.Role("creeld", Policy), policy)
}

func rigAt(t testing.TB, address, credential, policy string) *testrig.Rig {
	t.Helper()
	return rigConfig(t, fmt.Sprintf("vault: {address: %q, timeout: 2s}\n", address), credential, policy)
}

// rigConfig starts creeld with these lines in creel.yaml.
func rigConfig(t testing.TB, config, credential, policy string) *testrig.Rig {
	t.Helper()
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "vault"), []byte(credential), 0o400))
	return testrig.Start(t, testrig.Options{Policy: policy, Env: []string{"CREDENTIALS_DIRECTORY=" + dir}, Config: config})
}

// oneToken is a policy whose command gets a token of its own, and reaches the
// vault as its gateway.
func oneToken(s *Server) string {
	return "network: {gateway: " + strings.TrimPrefix(s.Address, "http://") + "}\n" +
		"credentials: [{env: TOKEN, from: 'vault:auth/token/create/task#token', ttl: 10m}]\n"
}

// held tells the token to this test, by way of the workspace, says what the
// vault answered to it, and goes on until it is told to end.
const held = `printf %s "$TOKEN" >/workspace/token
exec 3<>"/dev/tcp/127.0.0.1/$1"
printf 'GET /v1/auth/token/lookup-self HTTP/1.0\r\nX-Vault-Token: %s\r\n\r\n' "$TOKEN" >&3
read -r line <&3; echo "$line"
while [ ! -e /workspace/enough ]; do read -rt 0.05 <> <(:); done; exit 0`

// launch starts a command and returns once it has used its token.
func launch(t *testing.T, s *Server, r *testrig.Rig, flags ...string) (*exec.Cmd, string) {
	t.Helper()
	_ = os.Remove(r.Workspace + "/enough")
	_, port, _ := strings.Cut(strings.TrimPrefix(s.Address, "http://"), ":")
	args := append(append([]string{"exec"}, flags...), "--", "bash", "-c", held, "held", port)
	cmd := r.Command(args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if !strings.Contains(line, " 200 ") {
		t.Fatalf("from the sandbox the vault answered %q: %v\n%s\n%s", line, err, stderr.String(), r.Log())
	}
	token, err := os.ReadFile(r.Workspace + "/token")
	check(t, err)
	return cmd, string(token)
}

// refusedWithin wants a token to be refused within a second from now.
func refusedWithin(t *testing.T, s *Server, token string) {
	t.Helper()
	began := time.Now()
	for s.Accepts(token) {
		if time.Since(began) > 10*time.Second {
			t.Fatal("the token is still accepted")
		}
		time.Sleep(5 * time.Millisecond)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("the token was accepted for %v", took)
	}
}

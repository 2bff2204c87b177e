package leak

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// TestNoByteOfATokenReachesADisk has API tokens made, used, replaced, shown
// when they are not good any more and revoked, with the book of tokens on the
// disk that is searched; and looks for them in the memory of a supervisor that
// has just handled them.
func TestNoByteOfATokenReachesADisk(t *testing.T) {
	r := start(t, testrig.Options{Config: "tokenSocket: {everyone: true}\n", Policy: "callers: {users: [\"0\"], tokens: [ci]}\n"})
	first := r.token(t, "create", "--policy", "exec-default", "ci")
	r.shows(t, 0, first)
	r.forgotToken(t, "when it was made and used", first)
	second := r.token(t, "rotate", "ci")
	r.shows(t, 0, second)
	r.shows(t, 125, first)
	r.forgotToken(t, "when one was replaced, and shown again", first, second)
	r.operator(t, "token", "ls", "--json")
	r.operator(t, "doctor")
	r.KillSupervisor()
	r.StartSupervisor()
	r.shows(t, 0, second)
	r.operator(t, "token", "revoke", "ci")
	r.shows(t, 125, second)
	r.forgotToken(t, "when it was revoked, and shown again", second)
	book, err := os.ReadFile(r.Dir + "/state/tokens/tokens.json")
	check(t, err)
	if !bytes.Contains(book, []byte(`"tokens"`)) {
		t.Error("control: the book is not where it is searched for")
	}
	r.StopSupervisor()
	r.searched(t)
	for _, token := range []canary{first, second} {
		if found := token.onDisk(t); len(found) > 0 {
			t.Errorf("the disk holds a token:\n%s", strings.Join(found, "\n"))
		}
	}
	writeAndDelete(t, string(first))
	if len(first.onDisk(t)) == 0 {
		t.Error("the search is blind: a token was written and deleted")
	}
}

// token has a token made, and gives what is random of it.
func (r *rig) token(t *testing.T, args ...string) canary {
	t.Helper()
	got := r.Creel(append([]string{"token"}, args...)...)
	text := strings.TrimSpace(got.Stdout)
	if got.Code != 0 || !strings.HasPrefix(text, "creel_") {
		t.Fatalf("exit code %d: %s", got.Code, got.Stderr)
	}
	return canary(strings.TrimPrefix(text, "creel_"))
}

// shows runs a command of a caller with a token, which is in memory only.
func (r *rig) shows(t *testing.T, code int, token canary) {
	t.Helper()
	file := vaultDir + "/api.token"
	check(t, os.WriteFile(file, []byte("creel_"+token), 0o600))
	defer os.Remove(file)
	cmd := r.command(`env; cat /proc/*/cmdline`)
	cmd.Env = append(cmd.Env, "CREEL_SOCKET="+r.Dir+"/run/token/token.sock", "CREEL_TOKEN_FILE="+file)
	got := r.Run(cmd)
	if got.Code != code {
		t.Errorf("exit code %d, want %d: %s", got.Code, code, got.Stderr)
	}
	if code == 0 {
		r.delivered(t)
	}
	token.absent(t, "what the command and creel print", got.Stdout+got.Stderr)
}

// forgotToken fails if the supervisor's memory holds a token.
func (r *rig) forgotToken(t *testing.T, when string, tokens ...canary) {
	t.Helper()
	all := memory(t, r.Pid())
	if !bytes.Contains(all, []byte("exec-default")) {
		t.Error("control: the memory of creeld does not hold its policies")
	}
	for _, token := range tokens {
		if found, part := token.in(all), token.inPart(all); len(found) > 0 || part != "" {
			t.Errorf("%s, the memory of creeld holds a token: %v %s", when, found, part)
		}
	}
}

package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// The values of the tests, which redaction and hashes tell apart.
const (
	firstValue  = "first-value-4711-of-the-token"
	secondValue = "second-value-0815-of-the-token"
)

func digest(value string) string {
	sum := sha256.Sum256([]byte(value))
	return hex.EncodeToString(sum[:])[:16]
}

// withStore is a rig whose store has a secret, and whose agent is given it.
func withStore(t *testing.T, more string) *rig {
	t.Helper()
	o := options{Agent: "credentials: [{env: TOKEN, from: \"store:token\"}]\n" + more}
	o.Config = "secrets: {key: {file: " + testrig.SecretsKey(t) + "}}\n"
	return start(t, o)
}

func (r *rig) secret(order, value string) {
	r.t.Helper()
	cmd := r.Command("secret", order, "token")
	cmd.Stdin = strings.NewReader(value)
	if got := r.Run(cmd); got.Code != 0 {
		r.t.Fatalf("secret %s: %+v", order, got)
	}
}

// What is missing at the start comes later, and the agent with it; a rotation
// has it started anew with the new value, which no log shows.
func TestRotationStartsAnAgentAnewWithTheNewValue(t *testing.T) {
	r := withStore(t, "")
	r.Eventually("it waits for its secret", func() bool {
		a := r.agent()
		return a.State == "backing off" && strings.Contains(a.Problem, "TOKEN")
	})
	if n := r.count("started"); n != 0 {
		t.Errorf("it was started without: %q", r.events())
	}
	r.secret("set", firstValue)
	first := r.await("ready")
	r.Reload()
	if a := r.agent(); a.Sandbox != first.Sandbox {
		t.Errorf("a reload made it %+v", a)
	}
	r.secret("rotate", secondValue)
	second := r.anew(first)
	if events := strings.Join(r.events(), ", "); events != "started "+digest(firstValue)+", term, started "+digest(secondValue) {
		t.Errorf("it noted %q", events)
	}
	for _, got := range []string{r.Creel("logs", first.Sandbox).Stdout, r.Creel("logs", second.Sandbox).Stdout} {
		if !strings.Contains(got, "the token is [redacted:TOKEN]") {
			t.Errorf("the log is %q", got)
		}
	}
	for _, value := range []string{firstValue, secondValue} {
		if strings.Contains(r.Log()+r.Creel("inspect", "agent").Stdout+r.Creel("ps", "--json", "-a").Stdout, value) {
			t.Errorf("%.5s… is told", value)
		}
	}
}

// Where the policy says so, the agent is sent a signal and goes on.
func TestRotationSendsTheDeclaredSignal(t *testing.T) {
	r := withStore(t, "onRotation: SIGHUP")
	r.secret("set", firstValue)
	first := r.await("ready")
	r.secret("rotate", secondValue)
	r.Eventually("it is told", func() bool { return r.count("hup") == 1 })
	r.Reload() // tells of it once
	if a := r.agent(); a.Sandbox != first.Sandbox || r.count("hup") != 1 || r.count("term") != 0 {
		t.Errorf("it is %+v, events %q", a, r.events())
	}
	r.Creel("agent", "restart", "agent")
	r.anew(first)
	if r.count("started "+digest(secondValue)) != 1 {
		t.Errorf("events %q", r.events())
	}
}

// A credential of systemd's is a file, which a reload finds to be another.
func TestReloadFindsACredentialOfSystemdRotated(t *testing.T) {
	dir, err := os.MkdirTemp("/run", "creel-agent-test-")
	check(t, err)
	t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
	give := func(value string) { check(t, os.WriteFile(dir+"/token", []byte(value), 0o400)) }
	give(firstValue)
	o := options{Agent: `credentials: [{env: TOKEN, from: "systemd:token"}]`}
	o.Env = []string{"CREDENTIALS_DIRECTORY=" + dir}
	r := start(t, o)
	first := r.await("ready")
	check(t, os.Remove(dir+"/token"))
	give(secondValue)
	r.Reload()
	r.anew(first)
	if events := strings.Join(r.events(), ", "); events != "started "+digest(firstValue)+", term, started "+digest(secondValue) {
		t.Errorf("it noted %q", events)
	}
}

package hygiene

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
	"github.com/creel-sandbox/creel/integration/vault"
)

// told fails unless a command is refused because a file has the value of
// source, which no message has.
func told(t *testing.T, r *testrig.Rig, source, value string) {
	t.Helper()
	got := r.Shell("true")
	if got.Code != 125 || !strings.Contains(got.Stderr, "/note:1: the value of "+source) || strings.Contains(got.Stderr+r.Log(), value) {
		t.Fatalf("%+v\n%s", got, r.Log())
	}
}

func TestValueThatAVaultKeepsIsLookedFor(t *testing.T) {
	s := vault.Start(t, vault.Options{})
	const value = "a word that the vault keeps"
	s.Do("POST", "kv/data/there", map[string]any{"data": map[string]any{"token": value}})
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "vault"), []byte(s.Role("creeld", vault.Policy)), 0o400))
	r := testrig.Start(t, testrig.Options{
		Env: []string{"CREDENTIALS_DIRECTORY=" + dir}, Config: fmt.Sprintf("vault: {address: %q}\n", s.Address),
		Policy: "hygiene: {secrets: refuse}\ncredentials: [{env: KEPT, from: 'vault:kv/there#token'}]\n",
	})
	note := filepath.Join(r.Workspace, "note")
	write(t, note, "here: "+value+"\n")
	wantRun(t, r) // nobody has asked the vault for it yet
	told(t, r, "vault:kv/there#token", value)
	check(t, os.Remove(note))
	wantRun(t, r)
}

func TestValueOfTheStoreIsLookedForFromWhenItIsSet(t *testing.T) {
	r := testrig.Start(t, testrig.Options{
		Config: "secrets: {key: {file: " + testrig.SecretsKey(t) + "}}\n",
		Policy: "hygiene: {secrets: refuse}\ncredentials: [{env: TOKEN, from: 'store:token'}]\n",
	})
	set := func(how, value string) {
		t.Helper()
		cmd := r.Command("secret", how, "token")
		cmd.Stdin = strings.NewReader(value)
		if got := r.Run(cmd); got.Code != 0 {
			t.Fatalf("%+v", got)
		}
	}
	const first, second = "the first word of the store", "another word of the store"
	write(t, filepath.Join(r.Workspace, "note"), first+"\n")
	set("set", first)
	told(t, r, "store:token", first)
	set("rotate", second)
	wantRun(t, r) // the old value is nobody's any more
	write(t, filepath.Join(r.Workspace, "note"), second+"\n")
	told(t, r, "store:token", second)
}

// Package secret holds the tests of creel's own store of secrets, from what an
// operator types to what a command is given.
//
// It imports testrig, and runner/credential/store only to make a file that is
// older than a test can wait for. It never looks at a store but a rig's.
package secret

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/integration/testrig"
	"github.com/creel-sandbox/creel/runner/credential"
	"github.com/creel-sandbox/creel/runner/credential/store"
)

func TestMain(m *testing.M) { os.Exit(testrig.Main(m)) }

// rig is a supervisor whose store has a key file.
type rig struct {
	*testrig.Rig
	t   *testing.T
	key string // the file
}

// start makes the key file as README says, in a directory that is root's.
func start(t *testing.T, o testrig.Options) *rig {
	t.Helper()
	key := testrig.SecretsKey(t)
	o.Config += "secrets: {key: {file: " + key + "}}\n"
	return &rig{Rig: testrig.Start(t, o), t: t, key: key}
}

const usesToken = `credentials: [{env: TOKEN, from: "store:token"}]`

// give pipes a value to a subcommand of creel secret.
func (r *rig) give(value string, args ...string) testrig.Result {
	cmd := r.Command(append([]string{"secret"}, args...)...)
	cmd.Stdin = strings.NewReader(value)
	return r.Run(cmd)
}

// file is the store's.
func (r *rig) file() string { return r.Dir + "/state/secrets/secrets.age" }

// has checks which value a command gets, without one in its arguments.
func (r *rig) has(want string) {
	r.t.Helper()
	got := r.Shell(`printf %s "$TOKEN" >/workspace/token`)
	ok(r.t, got)
	data, err := os.ReadFile(r.Workspace + "/token")
	check(r.t, err)
	if string(data) != want {
		r.t.Errorf("the command was given %q, want %q", data, want)
	}
}

func ok(t *testing.T, got testrig.Result) {
	t.Helper()
	if got.Code != 0 {
		t.Fatalf("exit code %d: %s", got.Code, got.Stderr)
	}
}

func refused(t *testing.T, got testrig.Result, words ...string) {
	t.Helper()
	if got.Code != 125 {
		t.Errorf("exit code %d, want 125: %s", got.Code, got.Stderr)
	}
	for _, word := range words {
		if !strings.Contains(got.Stderr, word) {
			t.Errorf("messages:\n%swant %q there", got.Stderr, word)
		}
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const (
	first  = "first-value-of-the-token"
	second = "second value, of \"other\" bytes"
)

func TestCommandIsGivenTheSecretOfTheStore(t *testing.T) {
	r := start(t, testrig.Options{Policy: usesToken + "\npool: {warm: 1}"})
	refused(t, r.Shell("true"), "TOKEN", "store:token", "creel secret set token")
	ok(t, r.give(first+"\n", "set", "token"))
	r.has(first)
	if got := r.Shell(`echo "<$TOKEN>"`); got.Stdout != "<[redacted:TOKEN]>\n" {
		t.Errorf("the command printed %q", got.Stdout)
	}
	// A rotation is in force for the next command, that of a sandbox which was
	// made before it too.
	r.Eventually("a sandbox waits", func() bool { return strings.Contains(r.Creel("ps").Stdout, "warm") })
	ok(t, r.give(second, "rotate", "token"))
	r.has(second)
	removed := r.Creel("secret", "rm", "token")
	ok(t, removed)
	if !strings.Contains(removed.Stderr, "still named by exec-default") {
		t.Errorf("rm says %q", removed.Stderr)
	}
	refused(t, r.Shell("true"), "creel secret set token")
}

func TestSecretOutlivesItsSupervisor(t *testing.T) {
	r := start(t, testrig.Options{Policy: usesToken})
	ok(t, r.give(first, "set", "token"))
	r.KillSupervisor()
	r.StartSupervisor()
	r.has(first)
	refused(t, r.give(second, "set", "token"), "creel secret rotate token")
	r.has(first)
}

func TestStoreWithoutItsKeyIsRefusedAndNeverMadeAnew(t *testing.T) {
	r := start(t, testrig.Options{Policy: usesToken})
	ok(t, r.give(first, "set", "token"))
	before, err := os.ReadFile(r.file())
	check(t, err)
	for _, spoil := range []struct{ do, undo, words string }{
		{"mv $0 $0.away", "mv $0.away $0", "no such file"},
		{"chmod 0644 $0", "chmod 0400 $0", "0644"},
		{"chmod 0777 ${0%/*}", "chmod 0700 ${0%/*}", "0777"},
		{"mv $0 $0.away; ln -s $0.away $0", "mv $0.away $0", "symlink"},
		{"cp $0 $0.away; : >$0", "mv $0.away $0", "empty"},
		{`cp $0 $0.away; chmod 0600 $0; "$1" --new-secrets-key >$0`, "mv $0.away $0", "another key"},
	} {
		r.script(spoil.do)
		refused(t, r.Shell("true"), "store:token", spoil.words)
		refused(t, r.give(second, "rotate", "token"), spoil.words)
		refused(t, r.give(second, "set", "more"), spoil.words)
		refused(t, r.Creel("secret", "ls"), spoil.words)
		if got := r.Creel("doctor"); got.Code != 1 || !strings.Contains(got.Stdout, spoil.words) {
			t.Errorf("%s: the doctor says\n%s", spoil.do, got.Stdout)
		}
		r.script(spoil.undo)
		r.has(first)
	}
	if after, err := os.ReadFile(r.file()); err != nil || string(after) != string(before) {
		t.Errorf("a refused change changed the file (%v)", err)
	}
}

// script runs a shell script with the key file as $0 and creeld as $1.
func (r *rig) script(text string) {
	r.t.Helper()
	out, err := exec.Command("sh", "-euc", text, r.key, filepath.Join(testrig.Binaries(r.t), "creeld")).CombinedOutput()
	if err != nil {
		r.t.Fatalf("%s: %v\n%s", text, err, out)
	}
}

func TestFirstSecretNeedsAKeyAndIsToldHowToMakeOne(t *testing.T) {
	r := &rig{Rig: testrig.Start(t, testrig.Options{Policy: usesToken}), t: t}
	for _, got := range []testrig.Result{r.give(first, "set", "token"), r.give(first, "rotate", "token")} {
		refused(t, got, "there is no key", "systemd credential secrets", "creeld --new-secrets-key | systemd-creds encrypt")
	}
	refused(t, r.Shell("true"), "creel secret set token")
	if _, err := os.Lstat(filepath.Dir(r.file())); !os.IsNotExist(err) {
		t.Errorf("a refused set left something: %v", err)
	}
	ok(t, r.Creel("secret", "ls"))
}

// No rule knows what the store's values look like: they are found as they are.
func TestSecretInTheWorkspaceRefusesTheCommand(t *testing.T) {
	r := start(t, testrig.Options{Policy: usesToken + "\nhygiene: {secrets: refuse}"})
	const value = "plain words that no rule knows"
	ok(t, r.give(value, "set", "token"))
	ok(t, r.Shell("true"))
	check(t, os.WriteFile(r.Workspace+"/notes", []byte("remember: "+value+"\n"), 0o644))
	got := r.Shell("true")
	refused(t, got, "store:token", "notes:1")
	if strings.Contains(got.Stderr, value) {
		t.Errorf("the refusal holds the value: %s", got.Stderr)
	}
	check(t, os.Remove(r.Workspace+"/notes"))
	ok(t, r.Shell("true"))
}

func TestStoreThatOthersCanReadIsRefused(t *testing.T) {
	r := start(t, testrig.Options{Policy: usesToken})
	ok(t, r.give(first, "set", "token"))
	for path, mode := range map[string]os.FileMode{r.file(): 0o644, filepath.Dir(r.file()): 0o755} {
		st, err := os.Stat(path)
		check(t, err)
		check(t, os.Chmod(path, mode))
		refused(t, r.Shell("true"), "store:token", "lets others use it")
		refused(t, r.give(second, "rotate", "token"), "lets others use it")
		check(t, os.Chmod(path, st.Mode().Perm()))
		r.has(first)
	}
}

func TestOtherUsersCannotSeeOrChangeSecrets(t *testing.T) {
	r := start(t, testrig.Options{Policy: usesToken})
	ok(t, r.give(first, "set", "token"))
	for _, args := range [][]string{{"set", "other"}, {"rotate", "token"}, {"rm", "token"}, {"ls"}} {
		cmd := r.CommandAs(testrig.User, testrig.User, append([]string{"secret"}, args...)...)
		cmd.Stdin = strings.NewReader(second)
		refused(t, r.Run(cmd), "uid 61234")
	}
	r.has(first)
}

// An age that no test can wait for: the file is made with an older clock.
func TestOldSecretIsWarnedOfAndStrictRefusesItsCommand(t *testing.T) {
	r := start(t, testrig.Options{Policy: usesToken})
	old := store.New(store.Config{
		Dir: r.Dir + "/state/secrets", Now: func() time.Time { return time.Now().AddDate(0, 0, -91) },
		Key: func() (credential.Secret, error) { return credential.ReadFile(r.key) },
	})
	check(t, old.Set("token", credential.NewSecret([]byte(first))))
	r.has(first)
	r.Reload()
	const warning = "secret token, named by exec-default: its value is of"
	if !strings.Contains(r.Log(), warning) {
		t.Errorf("the journal says\n%s", r.Log())
	}
	if got := r.Creel("doctor"); !strings.Contains(got.Stdout, warning) || !strings.Contains(got.Stdout, "creel secret rotate token") {
		t.Errorf("the doctor says\n%s", got.Stdout)
	}
	if got := r.Creel("secret", "ls"); !strings.Contains(strings.Join(strings.Fields(got.Stdout), " "), "token overdue") {
		t.Errorf("listed\n%s", got.Stdout)
	}
	config, err := os.ReadFile(r.Dir + "/creel.yaml")
	check(t, err)
	r.WriteConfig(string(config) + "strict: true\n")
	r.Reload()
	refused(t, r.Shell("true"), "90 days", "strict: true", "creel secret rotate token")
	ok(t, r.give(second, "rotate", "token"))
	r.has(second)
	if got := r.Creel("secret", "ls"); !strings.Contains(strings.Join(strings.Fields(got.Stdout), " "), "token ok") {
		t.Errorf("listed\n%s", got.Stdout)
	}
}

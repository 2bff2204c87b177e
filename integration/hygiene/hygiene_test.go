// Package hygiene tests, with the real programs, that no command runs beside a
// credential where its policy says so.
//
// It imports integration/testrig, and never anything of runner: it knows of
// creel what an operator does.
package hygiene

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// A token that a rule finds, put together here so that none finds it in this
// file.
var token = "ghp_" + "R7xKq2mVw9ZtB4nLc8JdY3hPf6sGa1Ue5TkX"

// managed is a value that no rule knows.
const managed = "correct horse battery staple"

func TestMain(m *testing.M) { os.Exit(testrig.Main(m)) }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start starts a supervisor whose default policy has one more line, and which
// has the managed value as a credential of systemd's.
func start(t *testing.T, hygiene string) *testrig.Rig {
	t.Helper()
	credentials := t.TempDir()
	check(t, os.WriteFile(filepath.Join(credentials, "token"), []byte(managed+"\n"), 0o400))
	return testrig.Start(t, testrig.Options{
		Env:    []string{"CREDENTIALS_DIRECTORY=" + credentials},
		Policy: "hygiene: " + hygiene + "\ncredentials: [{env: TOKEN, from: \"systemd:token\"}]\n",
	})
}

func write(t *testing.T, path, text string) {
	t.Helper()
	check(t, os.MkdirAll(filepath.Dir(path), 0o755))
	check(t, os.WriteFile(path, []byte(text), 0o644))
}

// wantRun fails unless a command runs.
func wantRun(t *testing.T, r *testrig.Rig) {
	t.Helper()
	if got := r.Shell("echo it ran"); got.Code != 0 || got.Stdout != "it ran\n" {
		t.Fatalf("%+v\n%s", got, r.Log())
	}
}

// wantRefused fails unless a command is refused with these words, and without
// a word of a credential.
func wantRefused(t *testing.T, r *testrig.Rig, words ...string) {
	t.Helper()
	got := r.Shell("echo it ran")
	if got.Code != 125 || got.Stdout != "" {
		t.Fatalf("not refused: %+v\n%s", got, r.Log())
	}
	for _, word := range words {
		if !strings.Contains(got.Stderr, word) {
			t.Errorf("%q is not in %s", word, got.Stderr)
		}
	}
	for _, secret := range []string{token[4:], managed} {
		if strings.Contains(got.Stderr+r.Log(), secret) {
			t.Errorf("%q is in %s%s", secret, got.Stderr, r.Log())
		}
	}
}

func TestNoCommandRunsBesideACredential(t *testing.T) {
	r := start(t, "{secrets: refuse}")
	wantRun(t, r)
	for _, file := range []string{"MEMORY.md", "src/.env"} {
		path := filepath.Join(r.Workspace, file)
		write(t, path, "first\nuse "+token+"\n")
		wantRefused(t, r, path+":2: rule github-pat, fingerprint ")
		write(t, path, "first\nthe word is "+managed+"\n")
		wantRefused(t, r, path+":2: the value of systemd:token")
		check(t, os.Remove(path))
		wantRun(t, r)
	}
	// What a command writes itself counts for the next.
	if got := r.Shell("echo " + token[:20] + "\"\"" + token[20:] + " > leaked"); got.Code != 0 {
		t.Fatalf("%+v", got)
	}
	wantRefused(t, r, "leaked:1: rule github-pat")
}

func TestNoCommandRunsBesideACredentialInTheHistory(t *testing.T) {
	r := start(t, "{secrets: refuse}")
	git := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-c", "safe.directory=*"}, args...)...)
		cmd.Dir = r.Workspace
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GIT_CONFIG_NOSYSTEM=1", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org",
			"GIT_COMMITTER_NAME=c", "GIT_COMMITTER_EMAIL=c@example.org"}
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	git("init", "-q")
	write(t, filepath.Join(r.Workspace, "conf"), "nothing\n")
	git("add", "-A")
	git("commit", "-q", "-m", "one")
	wantRun(t, r)
	write(t, filepath.Join(r.Workspace, "conf"), "a\n"+token+"\n")
	git("commit", "-q", "-a", "-m", "two")
	git("revert", "--no-edit", "HEAD")
	wantRefused(t, r, r.Workspace+"/.git: commit ", ":conf:2: rule github-pat")
}

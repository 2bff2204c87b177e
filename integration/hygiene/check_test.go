package hygiene

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
)

const notCompared = "not compared with the exact values that creel manages"

// wantCheck fails unless creel policy check ends with a code, and says these
// words but no credential.
func wantCheck(t *testing.T, r *testrig.Rig, file string, code int, words ...string) testrig.Result {
	t.Helper()
	got := r.Creel("policy", "check", file)
	if got.Code != code {
		t.Errorf("exit code %d, want %d: %+v", got.Code, code, got)
	}
	for _, word := range words {
		if !strings.Contains(got.Stdout, word) {
			t.Errorf("%q is not in %s", word, got.Stdout)
		}
	}
	if strings.Contains(got.Stdout+got.Stderr+r.Log(), managed) {
		t.Errorf("the value is told: %+v", got)
	}
	return got
}

func TestPolicyCheckComparesExactValues(t *testing.T) {
	r := start(t, "{secrets: refuse}")
	file := filepath.Join(r.Policies, "exec-default.yaml")
	const compared = "compared with the exact values of 1 credentials"
	git := repository(t, r)
	wantCheck(t, r, file, 0, compared, file+": ok\n")
	for _, name := range []string{"SOUL.md", "src/deep/.env", "binary"} {
		path := filepath.Join(r.Workspace, name)
		write(t, path, "first\nand \x00 "+managed+"\n")
		wantCheck(t, r, file, 1, compared, "error: hygiene: "+path+":2: the value of systemd:token")
		check(t, os.Remove(path))
	}
	wantCheck(t, r, file, 0, compared)
	// In the history alone, in what no branch reaches any more.
	path := filepath.Join(r.Workspace, "conf")
	write(t, path, "one\n")
	git("add", "-A")
	git("commit", "-q", "-m", "one")
	write(t, path, "a\n"+managed+"\n")
	git("commit", "-q", "-a", "-m", "two")
	git("reset", "-q", "--hard", "HEAD~1")
	git("reflog", "expire", "--expire=now", "--all")
	wantCheck(t, r, file, 1, compared, r.Workspace+"/.git: ", "conf", ": the value of systemd:token")
	// The control: without the supervisor nobody knows the value, and it is said
	// that nobody has looked for it.
	r.StopSupervisor()
	if got := wantCheck(t, r, file, 0, "warning: hygiene: ", notCompared, "there is no supervisor", file+": ok\n"); strings.Contains(got.Stdout, "the value of") {
		t.Errorf("control: found without the supervisor: %+v", got)
	}
	write(t, path, token+"\n"+managed+"\n")
	wantCheck(t, r, file, 1, "warning: hygiene: ", notCompared, "error: hygiene: "+path+":1: rule github-pat")
}

func TestPolicyCheckComparesValuesOfAPolicyThatIsNotInForce(t *testing.T) {
	credentials := t.TempDir()
	check(t, os.WriteFile(filepath.Join(credentials, "other"), []byte("another word that is kept\n"), 0o400))
	r := startWith(t, credentials, "{secrets: warn}")
	file := filepath.Join(t.TempDir(), "drafted.yaml")
	draft := func(credentials string) {
		t.Helper()
		check(t, os.WriteFile(file, []byte(r.PolicyText("drafted", "hygiene: {secrets: refuse}\ncredentials: "+credentials)), 0o644))
	}
	path := filepath.Join(r.Workspace, "note")
	write(t, path, "here is\nanother word that is kept\n")
	draft("[]")
	wantCheck(t, r, file, 0, "compared with the exact values of 1 credentials\n")
	draft("[{env: OTHER, from: 'systemd:other'}, {env: GONE, from: 'systemd:gone'}]")
	wantCheck(t, r, file, 1, path+":2: the value of systemd:other",
		"compared with the exact values of 2 credentials; the supervisor has no value now of systemd:gone\n")
	// What is only drafted counts for no command.
	wantRun(t, r)
	if told := r.Creel("ps").Stderr; strings.Contains(told, path) {
		t.Errorf("ps tells of it: %s", told)
	}
	check(t, os.WriteFile(file, []byte("kind: Policy\n"), 0o644))
	if got := wantCheck(t, r, file, 1); strings.Contains(got.Stdout, "searched") {
		t.Errorf("a policy with errors was searched for: %+v", got)
	}
}

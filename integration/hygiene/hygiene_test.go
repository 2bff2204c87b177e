// Package hygiene tests, with the real programs, that no command runs beside a
// credential where its policy says so.
//
// It imports integration/testrig, and never anything of runner: it knows of
// creel what an operator does.
package hygiene

import (
	"fmt"
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
	return startWith(t, t.TempDir(), hygiene)
}

// startWith has systemd's credentials in a directory.
func startWith(t *testing.T, credentials, hygiene string) *testrig.Rig {
	t.Helper()
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

// repository makes a repository of the workspace, and gives what runs git in
// it.
func repository(t *testing.T, r *testrig.Rig) func(args ...string) {
	t.Helper()
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
	return git
}

func TestNoCommandRunsBesideACredentialInTheHistory(t *testing.T) {
	r := start(t, "{secrets: refuse}")
	git := repository(t, r)
	write(t, filepath.Join(r.Workspace, "conf"), "nothing\n")
	git("add", "-A")
	git("commit", "-q", "-m", "one")
	wantRun(t, r)
	write(t, filepath.Join(r.Workspace, "conf"), "a\n"+token+"\n")
	git("commit", "-q", "-a", "-m", "two")
	git("revert", "--no-edit", "HEAD")
	wantRefused(t, r, r.Workspace+"/.git: commit ", ":conf:2: rule github-pat")
}

func TestFilesOfOpenClawAreSearchedThoughTheSandboxCannotReadThem(t *testing.T) {
	state := t.TempDir()
	config := filepath.Join(state, "openclaw.json")
	check(t, os.WriteFile(config, []byte("{}\n"), 0o600))
	r := start(t, "{secrets: refuse, files: ["+config+"]}")
	wantRun(t, r)
	check(t, os.WriteFile(config, []byte("{\n\"apiKey\": \""+token+"\"}\n"), 0o600))
	wantRefused(t, r, config+":2: rule ")
	check(t, os.Remove(config)) // a name that is wrong must not pass for clean
	wantRefused(t, r, config, "no such file")
	check(t, os.WriteFile(config, []byte("{}\n"), 0o600))
	wantRun(t, r)
}

func TestWarningsAreToldAndTheCommandRuns(t *testing.T) {
	r := start(t, "{secrets: warn}")
	path := filepath.Join(r.Workspace, "MEMORY.md")
	write(t, path, token+"\n"+managed+"\n")
	wantRun(t, r)
	for name, told := range map[string]string{"journal": r.Log(), "ps": r.Creel("ps").Stderr, "doctor": r.Creel("doctor").Stdout} {
		if !strings.Contains(told, path+":1") || strings.Contains(told, token[4:]) || strings.Contains(told, managed) {
			t.Errorf("%s: %s", name, told)
		}
	}
	check(t, os.Remove(path))
	wantRun(t, r)
	if told := r.Creel("ps").Stderr; strings.Contains(told, path) {
		t.Errorf("ps still tells: %s", told)
	}
	if told := r.Creel("doctor").Stdout; !strings.Contains(told, "no credential in 0 files") {
		t.Errorf("doctor: %s", told)
	}
}

func TestAllowedFindingsDoNotRefuse(t *testing.T) {
	r := start(t, "{secrets: refuse}")
	write(t, filepath.Join(r.Workspace, "example"), token+"\n")
	wantRefused(t, r, "fingerprint ")
	_, after, _ := strings.Cut(r.Shell("true").Stderr, "fingerprint ")
	allow := func(until string) {
		t.Helper()
		r.WritePolicy("exec-default", r.PolicyText("exec-default",
			"hygiene: {secrets: refuse, allow: [{fingerprint: \""+after[:16]+"\", reason: the tests, until: "+until+"}]}"))
		r.Reload()
	}
	allow("2099-01-01")
	wantRun(t, r)
	write(t, filepath.Join(r.Workspace, "elsewhere"), token+"\n") // the same text
	wantRun(t, r)
	other := strings.Replace(token, "R7x", "Q8y", 1)
	write(t, filepath.Join(r.Workspace, "other"), other+"\n")
	wantRefused(t, r, "other:1: rule github-pat")
	check(t, os.Remove(filepath.Join(r.Workspace, "other")))
	allow("2020-01-01")
	wantRefused(t, r, "example:1: rule github-pat")
}

func TestFileThatACommandClosedIsNotPassedOver(t *testing.T) {
	r := start(t, "{secrets: refuse}")
	path := filepath.Join(r.Workspace, "roots")
	check(t, os.WriteFile(path, []byte(token), 0o600)) // the sandbox cannot read it either
	wantRun(t, r)
	if got := r.Shell("echo text > own && chmod 0 own"); got.Code != 0 {
		t.Fatalf("%+v", got)
	}
	wantRefused(t, r, filepath.Join(r.Workspace, "own")+": not searched: cannot be read")
	check(t, os.Chmod(filepath.Join(r.Workspace, "own"), 0o600))
	wantRun(t, r)
}

func TestWhatWasSearchedIsKnownAfterARestart(t *testing.T) {
	r := start(t, "{secrets: refuse}")
	wantRun(t, r)
	memories, err := filepath.Glob(filepath.Join(r.Dir, "state/hygiene/*"))
	check(t, err)
	if len(memories) != 1 {
		t.Fatalf("%d memories", len(memories))
	}
	for _, path := range append(memories, filepath.Dir(memories[0])) {
		info, err := os.Stat(path)
		check(t, err)
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v", path, info.Mode())
		}
	}
	r.StopSupervisor()
	write(t, filepath.Join(r.Workspace, "new"), token+" "+managed+"\n")
	r.StartSupervisor()
	wantRefused(t, r, "new:1: ")
	memory, err := os.ReadFile(memories[0])
	check(t, err)
	if !strings.Contains(string(memory), r.Workspace+"/new") {
		t.Errorf("control: the finding is not remembered: %q", memory)
	}
	for _, secret := range []string{token, managed} {
		for at := 0; at+8 <= len(secret); at++ {
			if strings.Contains(string(memory), secret[at:at+8]) {
				t.Errorf("%q is on the disk", secret[at:at+8])
			}
		}
	}
}

func TestPolicyCheckTellsOfCredentials(t *testing.T) {
	r := start(t, "{secrets: refuse}")
	file := filepath.Join(r.Policies, "exec-default.yaml")
	if got := r.Creel("policy", "check", file); got.Code != 0 {
		t.Fatalf("%+v", got)
	}
	path := filepath.Join(r.Workspace, "MEMORY.md")
	write(t, path, token+"\n")
	write(t, filepath.Join(r.Workspace, "package-lock.json"), "{}")
	write(t, filepath.Join(r.Workspace, "binary"), "\x00")
	got := r.Creel("policy", "check", file)
	if !strings.Contains(got.Stdout, "searched 3 files and 0 objects of Git; the rules do not apply to 1 binary ones, apply to the first 64 MiB of 0, and leave out 1 by their names") {
		t.Errorf("what was not covered is not told: %+v", got)
	}
	if got.Code != 1 || !strings.Contains(got.Stdout, path+":1: rule github-pat, fingerprint ") || strings.Contains(got.Stdout, token[4:]) {
		t.Errorf("%+v", got)
	}
	r.WritePolicy("plain", r.PolicyText("plain", ""))
	plain := filepath.Join(r.Policies, "plain.yaml")
	if got := r.Creel("policy", "check", plain); got.Code != 0 || strings.Contains(got.Stdout, path) {
		t.Errorf("of a policy that does not ask for it: %+v", got)
	}
	if got := r.Creel("policy", "check", "--search", plain); got.Code != 0 || !strings.Contains(got.Stdout, path+":1: rule github-pat") {
		t.Errorf("with --search: %+v", got)
	}
	as := r.CommandAs(testrig.User, testrig.User, "policy", "check", file)
	program, err := os.ReadFile(filepath.Join(testrig.Binaries(t), "creel-check"))
	check(t, err)
	check(t, os.WriteFile(filepath.Join(r.Dir, "creel-check"), program, 0o755))
	if got := r.Run(as); got.Code != 0 || !strings.Contains(got.Stdout, "not searched") {
		t.Errorf("as another user: %+v", got)
	}
}

func TestSearchEndsWithTheSupervisor(t *testing.T) {
	r := start(t, "{secrets: refuse}")
	var words strings.Builder
	for i := range 3_000_000 { // the rules take many seconds for it
		fmt.Fprintf(&words, "token_%d = %d\n", i, i*i)
	}
	write(t, filepath.Join(r.Workspace, "long"), words.String())
	r.Reload() // which begins a search
	r.Eventually("a search runs", func() bool { return searches(t, r) > 0 })
	r.KillSupervisor()
	r.Eventually("no search is left", func() bool { return searches(t, r) == 0 })
	check(t, os.Remove(filepath.Join(r.Workspace, "long")))
	r.StartSupervisor()
	wantRun(t, r)
}

// searches counts the processes that have the rig's workspace open and are not
// its supervisor.
func searches(t *testing.T, r *testrig.Rig) (n int) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/fd/3")
	check(t, err)
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && to == r.Workspace {
			n++
		}
	}
	return n
}

func TestWhatACommandWroteIsSearchedBeforeTheNext(t *testing.T) {
	r := start(t, "{secrets: refuse}")
	if got := r.Shell("echo " + token[:20] + "\"\"" + token[20:] + " > leaked"); got.Code != 0 {
		t.Fatalf("%+v", got)
	}
	r.Eventually("the finding is known though no command was started", func() bool {
		memories, err := filepath.Glob(filepath.Join(r.Dir, "state/hygiene/*"))
		check(t, err)
		if len(memories) != 1 {
			return false
		}
		memory, err := os.ReadFile(memories[0])
		check(t, err)
		return strings.Contains(string(memory), r.Workspace+"/leaked")
	})
	wantRefused(t, r, "leaked:1: rule github-pat")
}

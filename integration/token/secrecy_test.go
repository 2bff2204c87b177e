package token

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// holds says in which file below a directory a token is, but for its own.
func holds(t *testing.T, dir, token, own string) (found string) {
	t.Helper()
	check(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || path == own || filepath.Base(path) == "creel" {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(token[6:40])) || bytes.Contains(data, []byte(base64.StdEncoding.EncodeToString([]byte(token))[:40])) {
			found = path
		}
		return err
	}))
	return found
}

func TestTokenIsNowhereButInItsFile(t *testing.T) {
	r := start(t, "logs: {keep: 64KiB}")
	ci := r.create(runner, "ci", "--policy", "exec-default")
	former := ci.token
	ci.keep(r.Creel("token", "rotate", "ci"))
	seen := ci.shell(`env; cat /proc/*/cmdline /proc/*/environ; ls -lR /workspace /tmp`)
	ok(t, seen)
	if !strings.Contains(seen.Stdout, "PATH=") {
		t.Errorf("control: the command saw %q", seen.Stdout)
	}
	running := ci.begin()
	var ofHost bytes.Buffer
	for _, file := range []string{"cmdline", "environ"} {
		for _, pid := range []int{running.Process.Pid, r.Pid()} {
			data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
			check(t, err)
			ofHost.Write(data)
		}
	}
	if !strings.Contains(ofHost.String(), "CREEL_TOKEN_FILE="+ci.file) {
		t.Errorf("control: the processes show %q", ofHost.String())
	}
	list := r.Creel("ps", "--json")
	inspected := r.Creel("inspect", sandboxes(t, list)[0].ID)
	listed := r.Creel("token", "ls", "--json")
	ok(t, r.Creel("token", "revoke", "ci"))
	running.ends(t, 137, "")
	again := ci.shell("true")
	told := strings.Join([]string{seen.Stdout, seen.Stderr, ofHost.String(), list.Stdout, inspected.Stdout, listed.Stdout, again.Stderr, r.Creel("ps", "-a", "--json").Stdout, r.Creel("doctor").Stdout}, "\n")
	r.StopSupervisor()
	for _, token := range []string{former, ci.token} {
		if strings.Contains(told+r.Log(), token[6:40]) {
			t.Errorf("the token is in the log, or in what somebody is told")
		}
		if path := holds(t, r.Dir, token, ci.file); path != "" {
			t.Errorf("the token is in %s", path)
		}
	}
	if path := holds(t, r.Dir, ci.token, ""); path != ci.file {
		t.Errorf("control: the token is found in %q", path)
	}
	if !strings.Contains(listed.Stdout, `"used": "`) {
		t.Errorf("ls does not say when it was used: %s", listed.Stdout)
	}
}

func TestListTellsWhenATokenWasUsedAndEnds(t *testing.T) {
	r := start(t, "")
	ci := r.create(runner, "ci", "--policy", "exec-default", "--policy", "elsewhere", "--days", "7")
	type row struct {
		Name, State            string
		Policies, Refused      []string
		Created, Expires, Used time.Time
	}
	list := func() row {
		got := r.Creel("token", "ls", "--json")
		ok(t, got)
		var reply struct{ Tokens []row }
		check(t, json.Unmarshal([]byte(got.Stdout), &reply))
		if len(reply.Tokens) != 1 || strings.Contains(strings.ToLower(got.Stdout), "sha256") {
			t.Fatalf("ls says %s", got.Stdout)
		}
		return reply.Tokens[0]
	}
	before := list()
	if before.Name != "ci" || before.State != "ok" || len(before.Refused) != 1 || before.Refused[0] != "elsewhere" || !before.Used.IsZero() || before.Expires.Sub(before.Created) != 7*24*time.Hour {
		t.Errorf("%+v", before)
	}
	ok(t, ci.shell("true"))
	after := list()
	if after.Used.Before(before.Created) {
		t.Errorf("used %v", after.Used)
	}
	r.StopSupervisor()
	r.StartSupervisor()
	if again := list(); !again.Used.Equal(after.Used) {
		t.Errorf("after a restart used %v, before %v", again.Used, after.Used)
	}
	if got := r.Creel("token", "ls"); !strings.Contains(got.Stdout, "ci") || !strings.Contains(got.Stdout, "ago") {
		t.Errorf("ls says %s", got.Stdout)
	}
}

func TestTokenIsPrintedIntoNoFileThatOthersRead(t *testing.T) {
	r := start(t, "")
	path := filepath.Join(r.Dir, "printed")
	printTo := func(mode os.FileMode) int {
		check(t, os.RemoveAll(path))
		file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, mode)
		check(t, err)
		defer file.Close()
		check(t, file.Chmod(mode))
		cmd := r.Command("token", "create", "--policy", "exec-default", "ci")
		cmd.Stdout = file
		_ = cmd.Run() // the code says how
		return cmd.ProcessState.ExitCode()
	}
	if code := printTo(0o644); code != 125 {
		t.Errorf("a file of mode 0644: exit code %d", code)
	}
	if got := r.Creel("token", "ls"); strings.Contains(got.Stdout, "ci") {
		t.Errorf("a token was made for nobody: %s", got.Stdout)
	}
	if code := printTo(0o600); code != 0 {
		t.Errorf("a file of mode 0600: exit code %d", code)
	}
	if data, err := os.ReadFile(path); err != nil || !bytes.HasPrefix(data, []byte("creel_")) {
		t.Errorf("%d bytes were printed, %v", len(data), err)
	}
}

// What creel prints into a file is in no file that a sandbox can read.
func TestTokenIsNotWrittenWhereASandboxCanReadIt(t *testing.T) {
	r := start(t, "")
	r.WritePolicy("rooted", r.PolicyText("rooted", "root: {dir: "+r.Dir+"/rooted}"))
	check(t, os.MkdirAll(r.Dir+"/rooted", 0o755))
	r.Reload()
	into := func(path string, args ...string) testrig.Result {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
		check(t, err)
		defer file.Close()
		cmd := r.Command(append([]string{"token"}, args...)...)
		var stderr strings.Builder
		cmd.Stdout, cmd.Stderr = file, &stderr
		_ = cmd.Run() // the code says how
		return testrig.Result{Code: cmd.ProcessState.ExitCode(), Stderr: stderr.String()}
	}
	create := []string{"create", "--policy", "exec-default", "ci"}
	ok(t, into(r.Dir+"/ci.token", create...))
	check(t, os.Symlink(r.Workspace, r.Dir+"/elsewhere"))
	for path, shows := range map[string]string{r.Workspace + "/ci.token": "exec-default", r.Dir + "/elsewhere/linked": "exec-default", r.Dir + "/rooted/ci.token": "rooted"} {
		for _, args := range [][]string{{"create", "--policy", "exec-default", "cron"}, {"rotate", "ci"}} {
			refused(t, into(path, args...), "policy "+shows+" shows the file", "no token was made")
			if data, err := os.ReadFile(path); err != nil || len(data) > 0 {
				t.Errorf("%s holds %q, %v", path, data, err)
			}
		}
	}
	if listed := r.Creel("token", "ls"); strings.Contains(listed.Stdout, "cron") || !strings.Contains(listed.Stdout, "ci") {
		t.Errorf("there are\n%s", listed.Stdout)
	}
	ok(t, into(r.Dir+"/ci.token", "rotate", "ci"))
}

// A token in a workspace could be used by whoever it was left for: the rules
// know it by its form, and the values in other forms too.
func TestTokenInAWorkspaceIsFoundBeforeACommandRuns(t *testing.T) {
	r := start(t, "hygiene: {secrets: refuse}")
	ci := r.create(runner, "ci", "--policy", "exec-default")
	ok(t, ci.shell("true"))
	for name, text := range map[string]string{
		"notes.md": "the token is " + ci.token + "\n", ".env": "CREEL=" + ci.token, "encoded": base64.StdEncoding.EncodeToString([]byte("xx" + ci.token)),
		"binary": "\x00\x01" + ci.token + "\x00",
	} {
		path := filepath.Join(r.Workspace, name)
		check(t, os.WriteFile(path, []byte(text), 0o644))
		refused(t, ci.shell("echo it ran"), "credentials where its sandbox can read them", name)
		check(t, os.Remove(path))
		ok(t, ci.shell("true"))
	}
	// After a restart a token is known once it was used.
	r.StopSupervisor()
	r.StartSupervisor()
	check(t, os.WriteFile(r.Workspace+"/binary", []byte("\x00\x01"+ci.token), 0o644))
	refused(t, ci.shell("echo it ran"), "binary")
	if strings.Contains(r.Log(), ci.token[6:40]) {
		t.Error("the log holds the token")
	}
}

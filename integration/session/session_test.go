// Package session tests, with the real programs, what commands of one session
// share, and what they do not.
//
// It imports integration/testrig, and never anything of runner.
package session

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
)

func TestMain(m *testing.M) { os.Exit(testrig.Main(m)) }

// rig is a supervisor whose default policy has sessions.
type rig struct {
	*testrig.Rig
	t *testing.T
}

func start(t *testing.T, runtime, policy string) *rig {
	t.Helper()
	return &rig{testrig.Start(t, testrig.Options{Runtime: runtime, Policy: "scope: session\n" + policy}), t}
}

// in runs a script in a session, with further flags.
func (r *rig) in(session, script string, flags ...string) testrig.Result {
	return r.Creel(append(append([]string{"exec", "--session", session}, flags...), "--", "sh", "-c", script)...)
}

// want fails unless a script prints this, in a session.
func (r *rig) want(session, script, stdout string, flags ...string) {
	r.t.Helper()
	if got := r.in(session, script, flags...); got.Code != 0 || got.Stdout != stdout {
		r.t.Errorf("%s: %+v, want %q\n%s", script, got, stdout, r.Log())
	}
}

const (
	leave = "echo left >/tmp/file"
	look  = "cat /tmp/file 2>/dev/null || echo none"
	// beat goes on writing, with nothing of its caller's.
	beat = "while :; do echo x >>/tmp/beats; sleep 0.02; done >/dev/null 2>&1 </dev/null &"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// grows says whether what beat writes does, within a time.
func (r *rig) grows(session, within string) bool {
	before := r.in(session, "wc -c </tmp/beats").Stdout
	return r.in(session, `while [ "$(wc -c </tmp/beats)" = "`+strings.TrimSpace(before)+`" ]; do sleep 0.02; done; echo grown`, "--timeout", within).Stdout == "grown\n"
}

func TestCommandsOfASessionShareTmpAndNobodyElseDoes(t *testing.T) {
	for _, runtime := range testrig.Runtimes {
		r := start(t, runtime, "")
		r.WritePolicy("other", r.PolicyText("other", "scope: session"))
		r.WritePolicy("command", r.PolicyText("command", ""))
		r.Reload()
		r.want("one", leave, "")
		r.want("one", look, "left\n")
		r.want("one", look, "left\n", "--call", "another")
		for name, got := range map[string]testrig.Result{
			"another session": r.in("two", look), "no session": r.Shell(look), "a name that is a path": r.in("../one", look),
			"another sender": r.in("one", look, "--sender", "telegram:1"), "another channel": r.in("one", look, "--channel", "telegram:-1"),
			"another policy": r.in("one", look, "--policy", "other"), "a policy without sessions": r.in("one", look, "--policy", "command"),
			"another user": r.Run(r.CommandAs(testrig.User, 65534, "exec", "--session", "one", "--", "sh", "-c", look)),
		} {
			if got.Stdout != "none\n" {
				t.Errorf("%s, %s: %+v", runtime, name, got)
			}
		}
		// Each in a sandbox of its own, in which it is all there is.
		r.want("one", "sleep 1000 >/dev/null 2>&1 & echo begun", "begun\n")
		r.want("one", "grep -h sleep /proc/[0-9]*/comm || echo none", "none\n")
	}
}

func TestWhatACommandLeftRunningGoesOnUntilItIsEnded(t *testing.T) {
	r := start(t, "", "")
	r.want("one", beat, "")
	if !r.grows("one", "20s") {
		t.Fatal("what was left running does not go on")
	}
	var id string
	r.Eventually("it alone is listed", func() bool {
		list := r.List()
		if len(list) != 1 || list[0].State != "background" {
			return false
		}
		id = list[0].ID
		return true
	})
	if got := r.Creel("inspect", id); !strings.Contains(got.Stdout, `"posture"`) {
		t.Errorf("inspect says %+v", got)
	}
	if got := r.Creel("kill", "-s", "TERM", id); got.Code == 0 {
		t.Errorf("a signal for a command that has ended: %+v", got)
	}
	if got := r.Creel("kill", id); got.Code != 0 {
		t.Errorf("kill: %+v", got)
	}
	r.Eventually("nothing is listed", func() bool { return len(r.List()) == 0 })
	if r.grows("one", "1s") {
		t.Error("it goes on after a kill")
	}
	r.want("one", "test -s /tmp/beats && echo kept", "kept\n")
	// What ends by itself takes its sandbox with it.
	r.want("one", "(sleep 0.1; echo over >/tmp/over) >/dev/null 2>&1 &", "")
	r.Eventually("nothing is listed", func() bool { return len(r.List()) == 0 })
	r.want("one", "cat /tmp/over", "over\n")
}

// What the command wrote before its end arrives, all of it, whoever still holds
// its streams; and nobody waits for those.
func TestOutputEndsWithTheCommand(t *testing.T) {
	for _, policy := range []string{"", "logs: {keep: 1MiB}", "limits: {timeout: 1m, output: 16MiB}"} {
		r := start(t, "", policy)
		got := r.in("one", "sleep 1000 & seq 100000; echo end >&2; exit 7")
		if lines := strings.Split(got.Stdout, "\n"); got.Code != 7 || len(lines) != 100001 || lines[99999] != "100000" || got.Stderr != "end\n" {
			t.Errorf("%q: code %d, %d bytes, stderr %q", policy, got.Code, len(got.Stdout), got.Stderr)
		}
		// That a writer goes on writing keeps nobody either.
		if got := r.in("one", "while :; do echo y; done & sleep 0.1; exit 8"); got.Code != 8 {
			t.Errorf("%q: code %d", policy, got.Code)
		}
		// A terminal, a time limit and a caller that leaves end all.
		if got := r.in("two", "sleep 1000 & sleep 1000", "--timeout", "1s"); got.Code != 124 {
			t.Errorf("%q: at the time limit: code %d", policy, got.Code)
		}
		r.Eventually("only the first is left", func() bool { return len(r.List()) == 1 })
	}
}

func TestSessionEndsWhenItIsIdleAndByItsAge(t *testing.T) {
	r := start(t, "", "session: {idle: 1s}")
	r.want("one", leave+"; "+beat, "")
	r.Eventually("what it left running has ended", func() bool { return len(r.List()) == 0 })
	r.want("one", look, "none\n")
	r = start(t, "", "session: {idle: 6s, maxAge: 6s}")
	r.want("one", leave+"; "+beat, "")
	if got := r.in("one", "cat /tmp/file; exec sleep 1000"); got.Code != 137 || got.Stdout != "left\n" || !strings.Contains(got.Stderr, "ended with its session") {
		t.Errorf("%+v", got)
	}
	r.Eventually("nothing is listed", func() bool { return len(r.List()) == 0 })
	r.want("one", look, "none\n")
}

func TestSessionsAreBounded(t *testing.T) {
	r := start(t, "", "session: {most: 2}\ntmp: {size: 1MiB, inodes: 32}")
	r.want("one", leave, "")
	r.want("two", leave, "")
	if got := r.in("three", look); got.Code != 125 || !strings.Contains(got.Stderr, "there are 2 sessions") || !strings.Contains(got.Stderr, "session.most") {
		t.Errorf("a third one: %+v", got)
	}
	if got := r.Shell(look); got.Stdout != "none\n" {
		t.Errorf("no session: %+v", got)
	}
	r.want("one", "head -c 700000 /dev/zero >/tmp/a && echo ok", "ok\n")
	r.want("one", "head -c 700000 /dev/zero >/tmp/b 2>/dev/null || echo full", "full\n")
	r.want("two", "for i in $(seq 40); do touch /tmp/$i || break; done 2>/dev/null; test $(ls /tmp | wc -l) -lt 32 && echo full", "full\n")
}

func TestChangeOfThePolicyEndsItsSessions(t *testing.T) {
	r := start(t, "", "")
	r.want("one", leave+"; "+beat, "")
	r.Reload()
	r.want("one", look, "left\n") // nothing changed
	r.WritePolicy("exec-default", r.PolicyText("exec-default", "scope: session\nenv: {A: b}"))
	r.Reload()
	r.Eventually("what was left running has ended", func() bool { return len(r.List()) == 0 })
	r.want("one", look+"; echo $A", "none\nb\n")
}

// Nothing of a session outlives its supervisor, or the token of its caller.
func TestSessionEndsWithItsSupervisorAndItsCallersToken(t *testing.T) {
	r := &rig{testrig.Start(t, testrig.Options{Config: "tokenSocket: {everyone: true}\n", Policy: "scope: session\ncallers: {users: [\"0\"], tokens: [ci]}"}), t}
	made := r.Creel("token", "create", "--policy", "exec-default", "ci")
	file := filepath.Join(r.Dir, "ci.token")
	check(t, os.WriteFile(file, []byte(made.Stdout), 0o600))
	cmd := r.Command("exec", "--session", "one", "--", "sh", "-c", leave+"; "+beat)
	cmd.Env = append(cmd.Env, "CREEL_SOCKET="+r.Dir+"/run/token/token.sock", "CREEL_TOKEN_FILE="+file)
	if got := r.Run(cmd); got.Code != 0 {
		t.Fatalf("%+v", got)
	}
	r.want("one", look+"; "+beat, "none\n") // root's session of that name
	r.Eventually("both go on", func() bool { return len(r.List()) == 2 })
	if got := r.Creel("token", "revoke", "ci"); got.Code != 0 {
		t.Fatalf("%+v", got)
	}
	r.Eventually("the token's has ended", func() bool { return len(r.List()) == 1 })
	if !r.grows("one", "20s") {
		t.Error("control: another's has ended too")
	}
	r.KillSupervisor()
	r.StartSupervisor()
	r.Eventually("nothing is listed", func() bool { return len(r.List()) == 0 })
	r.want("one", look+"; "+beat, "none\n")
	r.StopSupervisor() // which fails where something is left
	if left, err := filepath.Glob(r.Dir + "/run/roots/*"); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
	r.StartSupervisor()
}

// A command's credentials are its own: the next one of the session finds
// nothing of them, though what had them still runs.
func TestCredentialsStayWithTheirCommand(t *testing.T) {
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "token"), []byte("the value of the token\n"), 0o400))
	r := &rig{testrig.Start(t, testrig.Options{Env: []string{"CREDENTIALS_DIRECTORY=" + dir}, Policy: "scope: session\n"}), t}
	r.WritePolicy("with", r.PolicyText("with", "scope: session\ncredentials: [{env: TOKEN, from: \"systemd:token\"}]"))
	r.Reload()
	r.want("one", `test "$TOKEN" = "the value of the token" && sleep 1000 & sleep 0.1; echo "$TOKEN"`, "[redacted:TOKEN]\n", "--policy", "with")
	r.Eventually("it goes on", func() bool { return len(r.List()) == 1 })
	// No pipe: its other end is a second shell with the token, until it executes.
	seen := r.in("one", `unset TOKEN; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline; ls /proc; ls -A /tmp`, "--policy", "with")
	if strings.Count(seen.Stdout, "redacted:TOKEN") > 1 || strings.Contains(seen.Stdout, "1000") {
		t.Errorf("a later command sees %s", seen.Stdout)
	}
	if !strings.Contains(seen.Stdout, "PATH=") {
		t.Errorf("control: it sees %s", seen.Stdout)
	}
}

func TestSessionIsAWeakerModeThatIsShown(t *testing.T) {
	r := start(t, "", "")
	r.want("one", beat, "")
	if got := fmt.Sprint(r.List()[0].Weaker); got != "[scope: session]" {
		t.Errorf("ps shows %s", got)
	}
}

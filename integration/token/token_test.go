package token

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/creel-sandbox/creel/integration/testrig"
	"github.com/creel-sandbox/creel/runner/token"
)

func TestTokenRunsThePoliciesWhereBothNameEachOther(t *testing.T) {
	r := start(t, "")
	r.WritePolicy("not-named", r.PolicyText("not-named", `callers: {users: ["0"], tokens: [cron]}`))
	r.WritePolicy("not-asked", r.PolicyText("not-asked", `callers: {users: ["0"], tokens: [ci, cron]}`))
	r.WritePolicy("of-users", r.PolicyText("of-users", fmt.Sprintf(`callers: {users: ["0", "%d"]}`, runner)))
	r.WritePolicy("of-tokens", r.PolicyText("of-tokens", `callers: {tokens: [ci]}`))
	r.Reload()
	created := r.Creel("token", "create", "--policy", "exec-default", "--policy", "not-named", "--policy", "of-users", "--policy", "of-tokens", "ci")
	if !strings.Contains(created.Stderr, "it ends on") || !strings.Contains(created.Stderr, "not-named, of-users: add `callers: {tokens: [ci]}`") {
		t.Errorf("create says %q", created.Stderr)
	}
	ci := &integration{rig: r, uid: runner, name: "ci", file: r.Dir + "/ci.token"}
	ci.keep(created)
	for _, policy := range []string{"exec-default", "of-tokens"} {
		if got := ci.creel("exec", "--policy", policy, "--", "echo", "it ran"); got.Stdout != "it ran\n" || got.Code != 0 {
			t.Errorf("%s: %+v", policy, got)
		}
	}
	// of-users names the user that the integration runs as, which counts for
	// nothing here.
	for _, policy := range []string{"not-named", "not-asked", "of-users", "no-such-policy"} {
		refused(t, ci.creel("exec", "--policy", policy, "--", "echo", "it ran"), `policy "`+policy+`": not one that the token ci may run`, "you may run: exec-default, of-tokens")
	}
	refused(t, r.Creel("exec", "--policy", "of-tokens", "--", "echo", "it ran"), "not one that user root may run")
	list := sandboxes(t, r.Creel("ps", "-a", "--json"))
	if len(list) != 2 || list[0].Caller != "token:ci" || list[1].Caller != "token:ci" {
		t.Errorf("ps lists %+v", list)
	}
	if !strings.Contains(r.Log(), "caller=\"token:ci\"") {
		t.Errorf("the log names no such caller:\n%s", r.Log())
	}
}

func TestWrongTokenRunsNothing(t *testing.T) {
	r := start(t, "")
	ci, cron := r.create(runner, "ci", "--policy", "exec-default"), r.create(other, "cron", "--policy", "exec-default")
	former := ci.token
	ci.keep(r.Creel("token", "rotate", "ci"))
	ok(t, ci.shell("true"))
	good := ci.token
	for name, wrong := range map[string]string{
		"replaced": former, "truncated": good[:len(good)-1], "of its name": "ci", "none": "",
		"another": good[:20] + string(good[20]^1) + good[21:], // with a checksum that is wrong
	} {
		check(t, os.WriteFile(ci.file, []byte(wrong), 0o600))
		words := "whole token"
		if name == "replaced" {
			words = "none that is in force here"
		}
		refused(t, ci.shell("echo it ran"), words)
	}
	// Another supervisor's, which is whole.
	elsewhere := start(t, "").create(runner, "ci", "--policy", "exec-default")
	check(t, os.WriteFile(ci.file, []byte(elsewhere.token), 0o600))
	refused(t, ci.shell("echo it ran"), "none that is in force here")
	check(t, os.WriteFile(ci.file, []byte(good), 0o600))
	ok(t, ci.shell("true"))
	check(t, os.Chmod(ci.file, 0o644))
	refused(t, ci.shell("echo it ran"), "mode 0644", "rotate")
	ok(t, cron.shell("true"))
	cron.uid = runner // who has no right to the file
	refused(t, cron.shell("echo it ran"), "permission denied")
}

func TestEndOfATokenEndsWhatRunsForIt(t *testing.T) {
	r := start(t, "")
	ci, cron := r.create(runner, "ci", "--policy", "exec-default"), r.create(other, "cron", "--policy", "exec-default")
	first, second, others := ci.begin(), ci.begin(), cron.begin()
	ok(t, r.Creel("token", "revoke", "ci"))
	first.ends(t, 137, "ended with the token")
	second.ends(t, 137, "ended with the token")
	r.Eventually("only the other's is left", func() bool { return len(r.List()) == 1 })
	if !others.runs() {
		t.Error("another token's command has ended too")
	}
	for range 2 {
		refused(t, ci.shell("echo it ran"), "none that is in force here")
	}
	ok(t, cron.shell("true"))
	cron.keep(r.Creel("token", "rotate", "cron"))
	others.ends(t, 137, "ended with the token")
	ok(t, cron.shell("true"))
	// It stays revoked, whatever becomes of the supervisor.
	r.KillSupervisor()
	r.StartSupervisor()
	refused(t, ci.shell("echo it ran"), "none that is in force here")
	ok(t, cron.shell("true"))
	refused(t, r.Creel("token", "revoke", "ci"), "no token of this name", "creel token ls")
	if got := r.List("-a"); len(got) == 0 {
		t.Error("control: ps lists nothing")
	}
}

func TestExpiredTokenIsRefusedWithAPlainWord(t *testing.T) {
	r := start(t, "")
	cron := r.create(other, "cron", "--policy", "exec-default")
	r.StopSupervisor()
	old, err := token.Open(token.Config{Dir: r.Dir + "/state/tokens", Log: logrus.New(), Now: func() time.Time { return time.Now().Add(-token.MaxLife) }})
	check(t, err)
	var text string
	_, err = old.Create("ci", token.Scope{Policies: []string{"exec-default"}}, token.MaxLife, func(b []byte) error { text = string(b); return nil })
	check(t, err)
	check(t, old.Close())
	r.StartSupervisor()
	ci := &integration{rig: r, uid: runner, name: "ci", file: r.Dir + "/ci.token"}
	ci.keep(testrig.Result{Stdout: text + "\n"})
	refused(t, ci.shell("echo it ran"), "token ci: it has expired on", "creel token rotate")
	ok(t, cron.shell("true"))
	if got := r.Creel("token", "ls"); !strings.Contains(got.Stdout, "expired") {
		t.Errorf("ls says %s", got.Stdout)
	}
	if got := r.Creel("doctor"); !strings.Contains(got.Stdout, "token ci is over") {
		t.Errorf("the doctor says %s", got.Stdout)
	}
	ci.keep(r.Creel("token", "rotate", "ci"))
	ok(t, ci.shell("true"))
	for _, days := range []string{"91", "0", "-1", "36500"} {
		refused(t, r.Creel("token", "rotate", "--days="+days, "ci"), "1 to 90")
	}
}

func TestHolderSeesAndEndsItsOwnSandboxesOnly(t *testing.T) {
	r := start(t, "")
	ci, cron := r.create(runner, "ci", "--policy", "exec-default"), r.create(other, "cron", "--policy", "exec-default")
	mine, theirs := ci.begin(), cron.begin()
	roots := begin(t, r.Command("exec", "--", "sh", "-c", "echo up; exec sleep 1000"))
	own := sandboxes(t, ci.creel("ps", "--json"))
	if len(own) != 1 || own[0].Caller != "token:ci" || own[0].State != "running" || own[0].Pid != 0 {
		t.Fatalf("a holder is shown %+v", own)
	}
	all := sandboxes(t, r.Creel("ps", "--json"))
	if len(all) != 3 {
		t.Fatalf("control: root is shown %+v", all)
	}
	for _, one := range all {
		if one.ID != own[0].ID {
			refused(t, exit1(ci.creel("kill", one.ID)), "no such sandbox")
			refused(t, exit1(ci.creel("kill", "-s", "TERM", one.ID[:6])), "no such sandbox")
		}
	}
	refused(t, exit1(ci.creel("kill", "ffffffffffff")), "no such sandbox")
	for _, args := range [][]string{{"inspect", all[0].ID}, {"logs", own[0].ID}, {"stats"}, {"doctor"}, {"token", "ls"}, {"token", "create", "--policy", "exec-default", "more"},
		{"token", "revoke", "cron"}, {"token", "rotate", "ci"}, {"secret", "ls"}, {"credential", "revoke", "--all"}} {
		refused(t, ci.creel(args...), "no token is for")
	}
	ok(t, ci.creel("kill", "--all"))
	mine.ends(t, 137, "ended by an operator")
	if !theirs.runs() || !roots.runs() {
		t.Error("kill --all of one holder has ended what is another's")
	}
	r.Eventually("a holder is shown the end of its own", func() bool {
		list := sandboxes(t, ci.creel("ps", "-a", "--json"))
		return len(list) == 1 && list[0].State == "ended"
	})
	second := cron.begin()
	ok(t, cron.creel("kill", sandboxes(t, cron.creel("ps", "--json"))[0].ID))
	second.ends(t, 137, "")
}

// exit1 makes creel's 1, for a sandbox that is not, the 125 of other refusals.
func exit1(got testrig.Result) testrig.Result {
	if got.Code == 1 {
		got.Code = 125
	}
	return got
}

// Whom a token is for, and for whom and from where, is checked beside what the
// policy lists.
func TestScopeOfATokenIsKept(t *testing.T) {
	r := start(t, "")
	ci := r.create(runner, "ci", "--policy", "exec-default", "--sender", "slack:U1", "--channel", "slack:C1")
	run := func(args ...string) testrig.Result {
		return ci.creel(append(append([]string{"exec"}, args...), "--", "echo", "it ran")...)
	}
	ok(t, run("--sender", "slack:U1", "--channel", "slack:C1"))
	for _, args := range [][]string{{}, {"--sender", "slack:U2", "--channel", "slack:C1"}, {"--sender", "slack:U1"}, {"--sender", "slack:U1", "--channel", "slack:C2"}} {
		refused(t, run(args...), "creel: error: refused")
	}
	if !strings.Contains(r.Log(), "its token does not list its channel") {
		t.Errorf("the log does not say why:\n%s", r.Log())
	}
	refused(t, r.Creel("token", "create", "--policy", "exec-default", "--sender", "anybody", "cron"), "PLATFORM:ID")
	refused(t, r.Creel("token", "create", "cron"), "none is named")
	refused(t, r.Creel("token", "create", "--policy", "exec-default", "ci"), "there is a token of this name", "rotate")
}

// An integration that is root in a user namespace of its own is nobody for the
// kernel's word, and who its token says for the other socket.
func TestIntegrationInAUserNamespaceIsWhoItsTokenSays(t *testing.T) {
	r := start(t, "")
	ci := r.create(runner, "ci", "--policy", "exec-default")
	inside := func(cmd *exec.Cmd) *exec.Cmd {
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: runner, Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: runner, Size: 1}},
			Credential:  &syscall.Credential{Uid: 0, Gid: 0, NoSetGroups: true},
		}
		return cmd
	}
	if got := r.Run(inside(ci.command("exec", "--", "echo", "it ran"))); got.Stdout != "it ran\n" {
		t.Errorf("with the token: %+v", got)
	}
	without := inside(ci.command("exec", "--", "echo", "it ran"))
	without.Env = without.Env[:2]
	refused(t, r.Run(without), "none came")
}

func TestSocketIsThereWhereItIsAskedForAndForWhom(t *testing.T) {
	off := testrig.Start(t, testrig.Options{})
	if _, err := os.Stat(off.Dir + "/run/token"); !os.IsNotExist(err) {
		t.Errorf("without tokenSocket there is one: %v", err)
	}
	refused(t, off.Creel("token", "ls"), "takes no tokens", "tokenSocket")
	refused(t, off.Creel("token", "create", "--policy", "exec-default", "ci"), "takes no tokens")
	r := &rig{testrig.Start(t, testrig.Options{Config: fmt.Sprintf("tokenSocket: {group: %d}\n", runner), Policy: `callers: {tokens: [ci]}`}), t}
	info, err := os.Stat(r.Dir + "/run/token/token.sock")
	check(t, err)
	if st := info.Sys().(*syscall.Stat_t); info.Mode().Perm() != 0o660 || st.Uid != 0 || st.Gid != runner {
		t.Errorf("mode %v, owner %d:%d", info.Mode(), st.Uid, st.Gid)
	}
	ci := r.create(runner, "ci", "--policy", "exec-default")
	ok(t, ci.shell("true"))
	ci.uid = other // not in the group
	check(t, os.Chown(ci.file, other, other))
	refused(t, ci.shell("true"), "may not connect", "tokenSocket")
}

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
)

// given runs creel secret with a value on standard input.
func (r *rig) given(t *testing.T, value string, args ...string) ran {
	t.Helper()
	command := r.command(t, append([]string{"secret"}, args...)...)
	command.Stdin = strings.NewReader(value)
	return end(t, command)
}

func (r *rig) holds(t *testing.T, name, want string) {
	t.Helper()
	if got, ok := r.host.Secret(name); !ok || got != want {
		t.Errorf("the supervisor has %q as %s, want %q", got, name, want)
	}
}

func TestSecretIsReadFromStandardInput(t *testing.T) {
	r := newRig(t)
	for value, want := range map[string]string{
		"a value\n": "a value", "a value": "a value", "a value\n\n": "a value\n", "a value\r\n": "a value\r", "two\nlines\n": "two\nlines",
		"12345678": "12345678", strings.Repeat("x", api.MaxSecret) + "\n": strings.Repeat("x", api.MaxSecret),
	} {
		if len(want) < api.MinSecret {
			value, want = "long "+value, "long "+want
		}
		r.given(t, value, "rotate", "used").want(t, 0)
		r.holds(t, "used", want)
	}
	r.given(t, "another value", "set", "unused").want(t, 0, "no policy in force names store:unused yet")
	r.holds(t, "unused", "another value")
	r.given(t, "another value", "set", "unused").want(t, 125, "there is a secret unused")
}

func TestBadValueIsRefusedBeforeItIsSent(t *testing.T) {
	r := newRig(t)
	for value, words := range map[string]string{
		"": "is empty", "\n": "is empty", "canary": "has 6 bytes", "canary-\n": "has 7 bytes", "canary\x00canary": "NUL",
		strings.Repeat("canary", api.MaxSecret/6+1): "more than 65536 bytes", strings.Repeat("x", api.MaxSecret) + "\n\n": "more than 65536 bytes",
	} {
		got := r.given(t, value, "set", "token")
		got.want(t, 125, words)
		if strings.Contains(got.stderr, "canary") {
			t.Errorf("a message holds the value: %s", got.stderr)
		}
	}
	if value, ok := r.host.Secret("token"); ok {
		t.Errorf("the supervisor was given %q", value)
	}
	r.given(t, "a good value", "set", "used").want(t, 0)
	offline.run(t, "secret", "ls").want(t, 125, "supervisor")
}

func TestValueIsNeverAnArgument(t *testing.T) {
	r := newRig(t)
	for _, args := range [][]string{{"set"}, {"set", "token", "a value"}, {"rotate", "token", "a value"}, {"rotate"}} {
		r.given(t, "another value", args...).want(t, 125, "is never an argument")
	}
	for _, args := range [][]string{{"get", "token"}, {"show", "token"}} {
		r.given(t, "", args...).want(t, 125, "there is no command")
	}
	r.run(t, "secret", "rm").want(t, 125, "rm takes names")
	r.run(t, "secret", "ls", "x").want(t, 125, "takes no arguments")
}

func TestSecretsAreListedWithoutValues(t *testing.T) {
	r := newRig(t)
	r.given(t, "canary-value", "set", "used").want(t, 0)
	got := r.run(t, "secret", "ls")
	got.want(t, 0)
	if fields := strings.Join(strings.Fields(got.stdout), " "); fields != "NAME STATE CREATED ROTATED AGE POLICIES "+
		"used ok 2026-01-02 2026-01-02 2 days exec-default,exec-build wanted missing - - - exec-build" {
		t.Errorf("listed %s", got.stdout)
	}
	raw := r.run(t, "secret", "ls", "--json")
	var reply struct{ Secrets []map[string]any }
	if err := json.Unmarshal([]byte(raw.stdout), &reply); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"name", "state", "created", "rotated", "ageNs", "policies"} {
		if _, ok := reply.Secrets[0][key]; !ok {
			t.Errorf("there is no key %q in %v", key, reply.Secrets[0])
		}
	}
	if strings.Contains(got.stdout+raw.stdout, "canary") {
		t.Error("a listing holds the value")
	}
}

func TestRemovalSaysWhichPoliciesStillNameIt(t *testing.T) {
	r := newRig(t)
	r.given(t, "a good value", "set", "used").want(t, 0)
	r.given(t, "a good value", "set", "unused").want(t, 0, "no policy in force")
	r.run(t, "secret", "rm", "unused").want(t, 0)
	r.run(t, "secret", "rm", "used").want(t, 0, "still named by exec-default, exec-build")
	r.run(t, "secret", "rm", "used").want(t, 125, "there is no secret used")
}

func TestSecretsAreCompleted(t *testing.T) {
	r := newRig(t)
	r.given(t, "a good value", "set", "used").want(t, 0)
	for line, want := range map[string]string{
		"creel secret ": "ls rm rotate set", "creel secret rm ": "used", "creel secret rotate u": "used", "creel secret set ": "",
	} {
		if got := r.completed(t, line); got != want {
			t.Errorf("%q became %q, want %q", line, got, want)
		}
	}
}

func TestSecretIsTypedTwiceAndUnseen(t *testing.T) {
	r := newRig(t)
	o := r.onTerminal(t, "secret", "set", "used")
	seen := o.until(t, "Value of used: ")
	o.hidden(t)
	io.WriteString(o.master, "typed value\r")
	seen += o.until(t, "The same again: ")
	o.hidden(t)
	io.WriteString(o.master, "typed value\r")
	o.ends(t, 0)
	if strings.Contains(seen, "typed") {
		t.Errorf("the terminal showed %q", seen)
	}
	r.holds(t, "used", "typed value")

	o = r.onTerminal(t, "secret", "rotate", "used")
	o.until(t, "Value of used: ")
	o.hidden(t)
	io.WriteString(o.master, "other value\r")
	o.until(t, "The same again: ")
	o.hidden(t)
	io.WriteString(o.master, "othre value\r")
	o.until(t, "the two values differ")
	o.ends(t, 125)
	r.holds(t, "used", "typed value")
}

// hidden waits until what is typed is not shown.
func (o *onTerminal) hidden(t *testing.T) {
	t.Helper()
	for o.state(t).Lflag&unix.ECHO != 0 {
		if o.command.ProcessState != nil || t.Context().Err() != nil {
			t.Fatal("the terminal goes on showing what is typed")
		}
	}
}

func TestNothingIsTypedForNothing(t *testing.T) {
	r := newRig(t)
	r.given(t, "typed value", "set", "used").want(t, 0)
	for _, args := range [][]string{{"set", "used"}, {"rotate", "none"}} {
		o := r.onTerminal(t, append([]string{"secret"}, args...)...)
		if seen := o.until(t, "creel: hint: "); strings.Contains(seen, "Value of") {
			t.Errorf("%v asked first: %q", args, seen)
		}
		o.ends(t, 125)
	}
}

func TestTerminalShowsAgainWhatIsTypedHoweverThePromptEnds(t *testing.T) {
	r := newRig(t)
	for _, s := range []unix.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT} {
		o := r.onTerminal(t, "secret", "set", "used")
		o.until(t, "Value of used: ")
		o.hidden(t)
		if err := o.command.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		o.ends(t, 128+int(s))
	}
	for key, code := range map[string]int{"\x03": 130, "\x04": 125, "\x1c": 131} {
		o := r.onTerminal(t, "secret", "set", "used")
		o.until(t, "Value of used: ")
		o.hidden(t)
		io.WriteString(o.master, key)
		o.ends(t, code)
	}
	if value, ok := r.host.Secret("used"); ok {
		t.Errorf("%q was kept", value)
	}
}

// A stop would make the shell show what is typed once creel goes on.
func TestStopIsIgnoredWhileAValueIsTyped(t *testing.T) {
	r := newRig(t)
	o := r.onTerminal(t, "secret", "set", "used")
	o.until(t, "Value of used: ")
	o.hidden(t)
	if !ignores(t, o.command.Process.Pid, unix.SIGTSTP) {
		t.Error("a stop is not ignored")
	}
	if ignores(t, os.Getpid(), unix.SIGTSTP) {
		t.Error("control: this process seems to ignore it too")
	}
	io.WriteString(o.master, "typed value\r")
	o.until(t, "The same again: ")
	o.hidden(t)
	io.WriteString(o.master, "typed value\r")
	o.ends(t, 0)
	r.holds(t, "used", "typed value")
}

// ignores reads a process's mask of ignored signals (SigIgn, proc(5)).
func ignores(t *testing.T, pid int, signal unix.Signal) bool {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	var mask uint64
	_, after, _ := strings.Cut(string(status), "SigIgn:")
	if _, err := fmt.Sscanf(after, "%x", &mask); err != nil {
		t.Fatal(err)
	}
	return mask&(1<<(signal-1)) != 0
}

// What a terminal gives of a longer line is cut: it must not be kept.
func TestLineThatATerminalCutsIsRefused(t *testing.T) {
	r := newRig(t)
	o := r.onTerminal(t, "secret", "set", "used")
	for _, prompt := range []string{"Value of used: ", "The same again: "} {
		o.until(t, prompt)
		o.hidden(t)
		io.WriteString(o.master, strings.Repeat("x", 5000)+"\r")
	}
	o.until(t, "may have been cut")
	o.ends(t, 125)
}

// A value waits in memory that is neither swapped nor in a core file: the files
// in /proc of a process that cannot be dumped are root's (proc(5)).
func TestClientThatHoldsAValueCannotBeDumpedOrSwapped(t *testing.T) {
	shown := func(args ...string) (owner uint32, locked bool) {
		command := newRig(t).command(t, args...)
		command.SysProcAttr = &unix.SysProcAttr{Credential: &syscall.Credential{Uid: 64123, Gid: 64123}}
		stdin, err := command.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		io.WriteString(stdin, "part of a value")
		dir := fmt.Sprintf("/proc/%d/", command.Process.Pid)
		for reading := false; !reading; { // what is in its pipe is gone once it reads
			time.Sleep(time.Millisecond)
			var left int
			left, err = unix.IoctlGetInt(int(stdin.(*os.File).Fd()), unix.TIOCINQ)
			if err != nil || t.Context().Err() != nil {
				t.Fatal(err)
			}
			reading = left == 0
		}
		var st unix.Stat_t
		if err := unix.Stat(dir+"environ", &st); err != nil {
			t.Fatal(err)
		}
		status, err := os.ReadFile(dir + "status")
		if err != nil {
			t.Fatal(err)
		}
		command.Process.Kill()
		command.Wait()
		return st.Uid, !strings.Contains(string(status), "VmLck:\t       0 kB")
	}
	if owner, locked := shown("secret", "set", "used"); owner != 0 || !locked {
		t.Errorf("files of owner %d in /proc, memory locked: %v", owner, locked)
	}
	if owner, locked := shown("exec", "-i", "--", "cat"); owner != 64123 || locked {
		t.Errorf("control: files of owner %d in /proc, memory locked: %v", owner, locked)
	}
}

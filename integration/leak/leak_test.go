package leak

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"

	"github.com/creel-sandbox/creel/integration/testrig"
	"github.com/creel-sandbox/creel/runner/api"
)

type event struct {
	name string
	run  func(*testing.T, *rig)
}

// events are what can happen to an invocation that has credentials, each with
// the place where others have lost one.
var events = []event{
	{"it prints them", itPrintsThem},              // docker keeps ID-json.log
	{"it prints them to a file", itPrintsToAFile}, // the caller redirects stdout
	{"it prints them on a terminal", itPrintsOnATerminal},
	{"it fails", itFails},
	{"it is not found", itIsNotFound}, // the job was sent, execve refused it
	{"it is looked at", itIsLookedAt}, // docker inspect shows the environment
	{"it is killed", itIsKilled},
	{"it takes too long", itTakesTooLong},
	{"its caller is killed", itsCallerIsKilled},
	{"it prints too much", itPrintsTooMuch}, // cut off in the middle of a value
	{"it takes too much memory", itTakesTooMuchMemory},
	{"it would dump core", itWouldDumpCore}, // docker leaves the hard limit unlimited
	{"a provider fails", aProviderFails},    // what a helper prints is in no error and no log
	{"the supervisor reloads", theSupervisorReloads},
	{"the supervisor is killed", theSupervisorIsKilled}, // what it left is swept by the next
}

func TestNoCredentialByteReachesADisk(t *testing.T) {
	for _, runtime := range testrig.Runtimes {
		t.Run(runtime, func(t *testing.T) {
			control := newCanary()
			writeAndDelete(t, string(control))
			r := start(t, testrig.Options{Runtime: runtime})
			for _, event := range events {
				t.Run(event.name, func(t *testing.T) {
					event.run(t, r)
					r.searched(t)
				})
			}
			r.StopSupervisor()
			r.searched(t)
			if len(control.onDisk(t)) == 0 {
				t.Error("the search is blind: bytes written and deleted before the first event are not found after the last")
			}
		})
	}
}

// searched fails if the disk holds a credential or a command. What was found once would
// be found after each later event, so it is the last search of its rig.
func (r *rig) searched(t *testing.T) {
	t.Helper()
	if r.leaked {
		return
	}
	for what, c := range map[string]canary{"the credential": r.canary, "the arguments of a command": r.marker} {
		if found := c.onDisk(t); len(found) > 0 {
			t.Errorf("the disk holds %s:\n%s", what, strings.Join(found, "\n"))
			r.leaked = true
		}
	}
}

func itPrintsThem(t *testing.T, r *rig) {
	got := r.runs(t, 0, `echo "$EXEC_TOKEN"; echo "$SYSTEMD_TOKEN" >&2; printf %s "$EXEC_TOKEN" | dd bs=7 status=none`)
	if want := "[redacted:EXEC_TOKEN]\n[redacted:EXEC_TOKEN]"; got.Stdout != want {
		t.Errorf("stdout %q, want %q", got.Stdout, want)
	}
	if want := "[redacted:SYSTEMD_TOKEN]\n"; got.Stderr != want {
		t.Errorf("stderr %q, want %q", got.Stderr, want)
	}
}

func itPrintsToAFile(t *testing.T, r *rig) {
	const out, result = "/var/tmp/out", "/var/tmp/result"
	file, err := os.Create(out)
	check(t, err)
	defer file.Close()
	cmd := r.command(`echo "$EXEC_TOKEN"; echo "$SYSTEMD_TOKEN" >&2`, "--result", result)
	cmd.Stdout, cmd.Stderr = file, file
	check(t, cmd.Run())
	r.delivered(t)
	data, err := os.ReadFile(out)
	check(t, err)
	if want := "[redacted:EXEC_TOKEN]\n[redacted:SYSTEMD_TOKEN]\n"; string(data) != want {
		t.Errorf("file %q, want %q", data, want)
	}
	r.outcome(t, result, api.ReasonExited)
}

func itPrintsOnATerminal(t *testing.T, r *rig) {
	cmd := r.command(`test -t 1 && echo "$EXEC_TOKEN $SYSTEMD_TOKEN"`, "-t")
	terminal, err := pty.Start(cmd)
	check(t, err)
	defer terminal.Close()
	out, _ := io.ReadAll(terminal) // ends with EIO when the client does (pty(7))
	check(t, cmd.Wait())
	r.delivered(t)
	r.canary.absent(t, "the terminal", string(out))
	if want := "[redacted:EXEC_TOKEN] [redacted:SYSTEMD_TOKEN]"; !strings.Contains(string(out), want) {
		t.Errorf("terminal %q, want %q", out, want)
	}
}

func itFails(t *testing.T, r *rig) {
	r.runs(t, 7, `echo "$EXEC_TOKEN" >&2; exit 7`)
}

func itIsNotFound(t *testing.T, r *rig) {
	r.runs(t, 127, `exec /no/such/command "$EXEC_TOKEN"`)
	got := r.Run(r.prepare(nil, "/no/such/command"))
	if got.Code != api.ExitNotFound {
		t.Errorf("exit code %d, want %d; stderr: %s", got.Code, api.ExitNotFound, got.Stderr)
	}
	r.canary.absent(t, "stderr", got.Stderr)
}

func itIsLookedAt(t *testing.T, r *rig) {
	b := r.begin(t, `echo "$EXEC_TOKEN"; touch printed; sleep 1000`, "--session", "looked-at")
	r.Eventually("it has printed", func() bool { _, err := os.Stat(r.Workspace + "/printed"); return err == nil })
	look := func(when string) {
		r.operator(t, "inspect", b.id)
		r.operator(t, "doctor")
		logs := r.operator(t, "logs", b.id)
		if !strings.Contains(logs, "[redacted:EXEC_TOKEN]") {
			t.Errorf("%s, logs are %q, want the redacted output", when, logs)
		}
		if rows := r.list(t, "-a"); len(rows) == 0 {
			t.Errorf("%s, ps -a shows nothing", when)
		}
	}
	look("while it runs")
	r.operator(t, "stats", "--json", b.id)
	r.operator(t, "kill", b.id)
	b.ends(t, 137)
	look("when it has ended")
}

func itIsKilled(t *testing.T, r *rig) {
	b := r.begin(t, `trap '' TERM; echo "$EXEC_TOKEN"; sleep 1000`)
	r.operator(t, "kill", b.id)
	b.ends(t, 137)
}

func itTakesTooLong(t *testing.T, r *rig) {
	r.runs(t, api.ExitTimeout, `printf %s "$EXEC_TOKEN"; sleep 1000`, "--timeout", "1s")
}

func itsCallerIsKilled(t *testing.T, r *rig) {
	b := r.begin(t, `echo "$EXEC_TOKEN"; sleep 1000`)
	check(t, b.client.Process.Kill())
	b.ends(t, -1)
	r.Eventually("nothing of it is listed", func() bool { return len(r.list(t)) == 0 })
}

func itPrintsTooMuch(t *testing.T, r *rig) {
	got := r.runs(t, 137, `while :; do echo "$EXEC_TOKEN"; done`)
	if !strings.HasPrefix(got.Stdout, "[redacted:EXEC_TOKEN]\n") || !strings.Contains(got.Stderr, "more output") {
		t.Errorf("stdout begins with %.40q, stderr %q, want redacted output and the reason", got.Stdout, got.Stderr)
	}
}

func itTakesTooMuchMemory(t *testing.T, r *rig) {
	const result = "/var/tmp/result"
	r.runs(t, 137, `echo "$EXEC_TOKEN"; exec tail /dev/zero`, "--result", result)
	r.outcome(t, result, api.ReasonOOM)
}

// itWouldDumpCore has a command try all that would give it a core file.
func itWouldDumpCore(t *testing.T, r *rig) {
	got := r.runs(t, 134, `grep 'Max core' /proc/self/limits; ulimit -c unlimited 2>/dev/null; kill -ABRT $$`)
	if want := []string{"Max", "core", "file", "size", "1", "1", "bytes"}; strings.Join(strings.Fields(got.Stdout), " ") != strings.Join(want, " ") {
		t.Errorf("core limit %q, want soft and hard 1, at which no core is made", got.Stdout)
	}
	cores, err := filepath.Glob(r.Workspace + "/core*")
	check(t, err)
	if len(cores) > 0 {
		t.Errorf("there are core files: %v", cores)
	}
}

func aProviderFails(t *testing.T, r *rig) {
	got := r.Run(r.prepare([]string{"--policy", "failing"}, "true"))
	if got.Code != api.ExitFailed || !strings.Contains(got.Stderr, "EXEC_TOKEN") {
		t.Errorf("exit code %d, want %d and an error that names EXEC_TOKEN; stderr: %s", got.Code, api.ExitFailed, got.Stderr)
	}
	r.canary.absent(t, "the error", got.Stderr)
	r.canary.absent(t, "the supervisor's log", r.Log())
}

// theSupervisorReloads, once to good files and once to one that is broken,
// while a command with credentials runs.
func theSupervisorReloads(t *testing.T, r *rig) {
	b := r.begin(t, `echo "$EXEC_TOKEN"; sleep 1000`)
	r.Reload()
	r.WritePolicy("broken", "apiVersion: creel/v1\nkind: Policy\ncredentials: [{env: A}]\n")
	if got := r.Creel("reload"); got.Code != api.ExitFailed || !strings.Contains(got.Stderr, "broken.yaml") {
		t.Errorf("the reload of a broken file ended with %+v", got)
	}
	if got := r.Creel("ps"); !strings.Contains(got.Stdout+got.Stderr, "broken.yaml") {
		t.Errorf("ps does not say that the reload failed: %s%s", got.Stdout, got.Stderr)
	}
	check(t, os.Remove(filepath.Join(r.Policies, "broken.yaml")))
	r.Reload()
	r.operator(t, "kill", b.id)
	b.ends(t, 137)
}

func theSupervisorIsKilled(t *testing.T, r *rig) {
	b := r.begin(t, `echo "$EXEC_TOKEN"; sleep 1000`)
	r.KillSupervisor()
	b.ends(t, api.ExitFailed)
	r.StartSupervisor()
	r.Eventually("what the killed supervisor left is gone", func() bool { return syscall.Kill(b.pid, 0) != nil })
	if rows := r.list(t); len(rows) > 0 {
		t.Errorf("ps shows %+v after the restart", rows)
	}
	r.runs(t, 0, `echo "$EXEC_TOKEN"`)
}

// outcome checks the file of --result.
func (r *rig) outcome(t *testing.T, path, reason string) {
	t.Helper()
	data, err := os.ReadFile(path)
	check(t, err)
	r.canary.absent(t, "the result", string(data))
	var outcome api.Outcome
	check(t, json.Unmarshal(data, &outcome))
	if outcome.Reason != reason {
		t.Errorf("ended for reason %q, want %q", outcome.Reason, reason)
	}
}

// writeAndDelete puts a text on the disk for less than a moment.
func writeAndDelete(t *testing.T, text string) {
	t.Helper()
	file, err := os.CreateTemp("", "control-")
	check(t, err)
	check(t, os.Remove(file.Name()))
	_, err = file.WriteString(text)
	check(t, err)
	check(t, file.Close())
}

package leak

import (
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/integration/testrig"
	"github.com/creel-sandbox/creel/runner/api"
)

// isLocked says of a mapping that it is never swapped, in no core and in no
// fork.
func isLocked(flags []string) bool {
	return slices.Contains(flags, "lo") && slices.Contains(flags, "dd") && slices.Contains(flags, "wf")
}

func isOrdinary(flags []string) bool { return !isLocked(flags) }

// holds says whether the supervisor's memory holds the credential now, in
// locked memory and elsewhere.
func (r *rig) holds(t *testing.T) (inLocked, elsewhere []string) {
	t.Helper()
	return r.canary.in(memoryOf(t, r.Pid(), isLocked)), r.canary.in(memoryOf(t, r.Pid(), isOrdinary))
}

// TestCredentialIsInLockedMemoryUntilItIsSentAndNowhereAfter has a command wait
// for the second of its credentials, when the supervisor has the first.
func TestCredentialIsInLockedMemoryUntilItIsSentAndNowhereAfter(t *testing.T) {
	r := start(t, testrig.Options{})
	const fifo = vaultDir + "/fifo"
	check(t, errors.Join(os.RemoveAll(fifo), unix.Mkfifo(fifo, 0o600)))
	r.WritePolicy("waiting", r.PolicyText("waiting", strings.Replace(credentials, "%", "wait", 1)))
	r.Reload()
	client := r.command(`echo "$EXEC_TOKEN $SYSTEMD_TOKEN"; printf %s "$EXEC_TOKEN" | base64 -w0`, "--policy", "waiting")
	stdout, err := client.StdoutPipe()
	check(t, err)
	check(t, client.Start())
	r.Eventually("the supervisor has a credential, in locked memory", func() bool {
		inLocked, elsewhere := r.holds(t)
		if len(elsewhere) > 0 {
			t.Fatalf("it is not in locked memory alone: %v", elsewhere)
		}
		return len(inLocked) > 0
	})
	coreTellsNothing(t, "creeld, which has it", r.Pid(), r.canary)
	value, err := os.ReadFile(vaultDir + "/value")
	check(t, err)
	end, err := os.OpenFile(fifo, os.O_RDWR, 0) // which does not wait for the helper
	check(t, err)
	_, err = end.Write(value)
	check(t, errors.Join(err, end.Close())) // now the helper ends
	out, err := io.ReadAll(stdout)
	check(t, err)
	check(t, client.Wait())
	r.delivered(t)
	if want := "[redacted:EXEC_TOKEN] [redacted:SYSTEMD_TOKEN]\n[redacted:EXEC_TOKEN]"; string(out) != want {
		t.Errorf("stdout %q, want %q", out, want)
	}
	r.forgot(t, "when the command has ended")
	r.searched(t)
}

// forgot fails if the supervisor's memory holds the credential anywhere.
func (r *rig) forgot(t *testing.T, when string) {
	t.Helper()
	var inLocked, elsewhere []string
	if !r.Holds(func() bool { // what an end undoes, it undoes after the client is told
		inLocked, elsewhere = r.holds(t)
		return len(inLocked)+len(elsewhere) == 0
	}) {
		t.Errorf("%s, the supervisor's memory holds the credential, locked: %v, elsewhere: %v", when, inLocked, elsewhere)
	}
}

// TestSupervisorForgetsCredentialsThatItHasSent searches the supervisor's whole
// memory while commands run and after each kind of end.
func TestSupervisorForgetsCredentialsThatItHasSent(t *testing.T) {
	r := start(t, testrig.Options{})
	session := string(newCanary())
	b := r.begin(t, `echo "$EXEC_TOKEN"; echo "$SYSTEMD_TOKEN" >&2; sleep 1000`, "--session", session)
	r.Eventually("it has printed", func() bool { return strings.Count(r.operator(t, "logs", b.id), "redacted") == 2 })
	r.forgot(t, "while a command runs")
	if len(canary(session).in(memoryOf(t, r.Pid(), isOrdinary))) == 0 {
		t.Error("control: what the supervisor knows of the command is not found in its memory")
	}
	r.runs(t, 0, `echo "$EXEC_TOKEN"; head -c 100000 /dev/zero | tr '\0' x >&2`)
	r.runs(t, 7, `printf %s "$EXEC_TOKEN" | od -An -tx1; exit 7`)
	r.runs(t, 0, `printf %.40s "$EXEC_TOKEN"; printf %s "$SYSTEMD_TOKEN" | dd bs=1 status=none`)
	r.runs(t, api.ExitTimeout, `printf %.50s "$EXEC_TOKEN"; sleep 1000`, "--timeout", "1s") // in the midst of a value
	r.Run(r.prepare(nil, "/no/such/command"))
	r.Run(r.prepare([]string{"--policy", "failing"}, "true"))
	terminal, err := pty.Start(r.command(`echo "$EXEC_TOKEN $SYSTEMD_TOKEN"; stty -a`, "-t"))
	check(t, err)
	_, _ = io.ReadAll(terminal) // ends with EIO when the client does (pty(7))
	check(t, terminal.Close())
	r.delivered(t)
	r.forgot(t, "after many")
	r.operator(t, "kill", b.id)
	b.ends(t, 137)
	r.forgot(t, "after the last")
	r.searched(t)
}

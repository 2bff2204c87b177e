package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/credential"
	"github.com/creel-sandbox/creel/runner/credential/locked"
	"github.com/creel-sandbox/creel/runner/engine"
	"github.com/creel-sandbox/creel/runner/initproto"
	"github.com/creel-sandbox/creel/runner/server"
)

// staticSecret is a provider whose credential is always the same.
type staticSecret string

func (s staticSecret) Fetch(context.Context, credential.Ask) (credential.Grant, error) {
	return credential.Grant{Secret: credential.NewSecret([]byte(s))}, nil
}

// withEverything are lines of a policy that give every launch step something
// to do; its gateway listens for as long as the test runs.
func withEverything(t *testing.T) string {
	t.Helper()
	gateway, err := net.Listen("tcp4", "127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { gateway.Close() })
	return fmt.Sprintf(`
network: {gateway: %q}
credentials: [{env: TOKEN, from: "exec:/bin/helper"}]
limits: {timeout: 1m, output: 1MiB}
logs: {keep: 4KiB}`, gateway.Addr())
}

var errInjected = errors.New("injected failure")

// A launch that fails in any step, before or after it did its work, undoes
// the steps before it, last first, and leaves nothing.
func TestFailureInAnyStepUnwindsTheOthers(t *testing.T) {
	r := newRig(t, options{policy: withEverything(t), provider: staticSecret("0123456789abcdef")})
	if c := r.run("true"); c.err != nil {
		t.Fatalf("control: %v", c.err)
	}
	original := launchSteps
	t.Cleanup(func() { launchSteps = original })
	before, locks := descriptors(t), locked.InUse()
	for failing, step := range original {
		for _, late := range []bool{false, true} {
			var undone []string
			launchSteps = instrumented(original, failing, late, &undone)
			c := r.run("touch ran")
			if !errors.Is(c.err, errInjected) && !strings.Contains(fmt.Sprint(c.err), step.name+": "+errInjected.Error()) {
				t.Errorf("%s: told %v", step.name, c.err)
			}
			var want []string
			for i := failing; i >= 0; i-- {
				if original[i].undo != nil && (i < failing || late) {
					want = append(want, original[i].name)
				}
			}
			if !slices.Equal(undone, want) {
				t.Errorf("%s, late %v: undone %q, want %q", step.name, late, undone, want)
			}
			if left := r.leftovers(); len(left) != 0 {
				t.Errorf("%s, late %v: left %q", step.name, late, left)
			}
		}
	}
	r.eventually("its descriptors are closed", func() bool { return descriptors(t) <= before })
	r.eventually("its locked memory is free", func() bool { return locked.InUse() <= locks })
	launchSteps = original
	if c := r.run("true"); c.err != nil {
		t.Errorf("control: %v", c.err)
	}
}

// instrumented steps note their undos; one fails, without having done its
// work or, when late, in the place of the step after it.
func instrumented(steps []step, failing int, late bool, undone *[]string) []step {
	fail := func(*Supervisor, context.Context, *invocation) error { return errInjected }
	out := slices.Clone(steps)
	for i, s := range steps {
		if s.undo != nil {
			out[i].undo = func(sup *Supervisor, inv *invocation) error {
				*undone = append(*undone, s.name)
				return s.undo(sup, inv)
			}
		}
	}
	if late {
		return slices.Insert(out[:failing+1:failing+1], failing+1, step{name: steps[failing].name, ahead: steps[failing].ahead, do: fail})
	}
	out[failing].do = fail
	return out
}

func TestUndoThatFailsDoesNotKeepOthersFromRunning(t *testing.T) {
	r := newRig(t, options{})
	original := launchSteps
	t.Cleanup(func() { launchSteps = original })
	launchSteps = slices.Insert(slices.Clone(original), 3, step{name: "odd", ahead: true,
		do:   func(*Supervisor, context.Context, *invocation) error { return nil },
		undo: func(*Supervisor, *invocation) error { return errInjected }})
	if c := r.run("true"); c.err != nil {
		t.Fatal(c.err)
	}
	if left := r.leftovers(); len(left) != 0 || !strings.Contains(r.log.String(), errInjected.Error()) {
		t.Errorf("left %q; log:\n%s", left, r.log)
	}
}

// A caller that stays but does not read must not hold up a kill or a stop.
func TestCallerThatDoesNotReadHoldsNothingUp(t *testing.T) {
	for name, stop := range map[string]func(*rig){
		"kill": func(r *rig) {
			_, err := r.Kill(context.Background(), &api.KillRequest{All: true, Signal: int(unix.SIGKILL)})
			check(r.t, err)
		},
		"close": func(r *rig) { go r.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, options{policy: withEverything(t), provider: staticSecret("0123456789abcdef")})
			stdio, in, out, errs := pipes(t)
			for _, f := range []*os.File{in, out, errs} {
				defer f.Close()
			}
			done := make(chan *api.Result, 1)
			go func() {
				result, _ := r.Exec(t.Context(), server.Peer{}, shell("head -c 500000 /dev/zero; touch done"), stdio, nil, func(string) {})
				done <- result
			}()
			r.eventually("it runs, and the pipe is full", func() bool {
				n, err := unix.IoctlGetInt(int(out.Fd()), unix.TIOCINQ)
				check(t, err)
				list, err := r.Ps(t.Context(), false)
				check(t, err)
				return n > 60000 && len(list.Sandboxes) == 1 && list.Sandboxes[0].State == "running"
			})
			began := time.Now()
			stop(r)
			result := <-done
			r.settle()
			if took := time.Since(began); took > 10*time.Second || result == nil || result.ExitCode != 137 {
				t.Errorf("took %v, result %+v", took, result)
			}
		})
	}
}

func TestOutputLimitCountsBothStreams(t *testing.T) {
	r := newRig(t, options{policy: "limits: {timeout: 1m, output: 100000}"})
	if c := r.run("head -c 50000 /dev/zero; head -c 50000 /dev/zero >&2"); c.err != nil || c.result.ExitCode != 0 ||
		len(c.stdout.String())+len(c.stderr.String()) != 100000 {
		t.Errorf("at the limit: %+v, %v", c.result, c.err)
	}
	c := r.run("head -c 50000 /dev/zero >&2; head -c 50001 /dev/zero; sleep 1000")
	if c.err != nil || c.result.Reason != api.ReasonOutputLimit || c.result.ExitCode != 137 {
		t.Errorf("past the limit: %+v, %v", c.result, c.err)
	}
	if n := len(c.stdout.String()) + len(c.stderr.String()); n > 100000 {
		t.Errorf("past the limit: %d bytes came through", n)
	}
}

func TestResultSaysHowItEnded(t *testing.T) {
	r := newRig(t, options{})
	for _, c := range []struct {
		script, reason string
		code, signal   int
	}{
		{"exit 0", api.ReasonExited, 0, 0},
		{"exit 7", api.ReasonExited, 7, 0},
		{"kill -TERM $$", api.ReasonSignaled, 143, 15},
		{"kill -KILL $$", api.ReasonSignaled, 137, 9},
	} {
		got := r.run(c.script)
		if got.err != nil || got.result.Reason != c.reason || got.result.ExitCode != c.code || got.result.Signal != c.signal {
			t.Errorf("%s: %+v, %v", c.script, got.result, got.err)
		}
		if got.err == nil && (got.result.Wall <= 0 || got.result.Launch <= 0) {
			t.Errorf("%s: times %+v", c.script, got.result)
		}
	}
	limited := shell("sleep 1000")
	limited.Timeout = 50 * time.Millisecond
	c := r.start(limited, "")
	<-c.done
	if c.err != nil || c.result.Reason != api.ReasonTimeout || c.result.ExitCode != api.ExitTimeout {
		t.Errorf("time limit: %+v, %v", c.result, c.err)
	}
	missing := &api.ExecRequest{Policy: "exec-default", Argv: [][]byte{[]byte("no-such-command")}}
	c = r.start(missing, "")
	<-c.done
	if told := asAPI(t, c.err); told.ExitCode != api.ExitNotFound {
		t.Errorf("not found: %+v", told)
	}
}

// Whoever ends a command just when it begins is not told that it did not.
func TestCommandThatIsStoppedBeforeItsStartIsReportedHasRun(t *testing.T) {
	r := newRig(t, options{})
	original := launchSteps
	t.Cleanup(func() { launchSteps = original })
	for name, stop := range map[string]func(*invocation){
		api.ReasonKilled: func(inv *invocation) { inv.stop(api.ReasonKilled) },
		"":               func(*invocation) {}, // the control: nobody did, and it is unknown what became of it
	} {
		launchSteps = slices.Clone(original)
		launchSteps[len(launchSteps)-1].do = func(s *Supervisor, ctx context.Context, inv *invocation) error {
			if err := s.startCommand(ctx, inv); err != nil {
				return err
			}
			r.eventually("the command runs", func() bool { return os.Remove(r.workspace+"/ran") == nil })
			stop(inv)
			return initproto.ErrGone // in the place of what the init says
		}
		c := r.run("touch ran; sleep 1000")
		switch {
		case name == "" && asAPI(t, c.err).ExitCode != api.ExitFailed:
			t.Errorf("control: %+v, %v", c.result, c.err)
		case name != "" && (c.err != nil || c.result.Reason != name || c.result.ExitCode != 137):
			t.Errorf("%s: %+v, %v", name, c.result, c.err)
		}
	}
	if left := r.leftovers(); len(left) != 0 {
		t.Errorf("left %q", left)
	}
}

// Ps must be the kernel's and the engine's: nothing in it that is not there,
// nothing missing that is.
func TestPsHasNoPhantomAndMissesNone(t *testing.T) {
	r := newRig(t, options{})
	ids := func() (found []string) {
		reply, err := r.Ps(t.Context(), false)
		check(t, err)
		for _, row := range reply.Sandboxes {
			found = append(found, row.ID+" "+row.State)
		}
		return found
	}
	if got := ids(); len(got) != 0 {
		t.Fatalf("before: %q", got)
	}
	c := r.start(shell("sleep 1000"), "")
	id := r.started(c)
	if got := ids(); !slices.Equal(got, []string{id + " running"}) {
		t.Errorf("running: %q", got)
	}
	// One that only the kernel and the engine know of, as after a kill -9.
	r.mu.Lock()
	inv := r.live[id]
	delete(r.live, id)
	r.mu.Unlock()
	if got := ids(); !slices.Equal(got, []string{id + " orphan"}) {
		t.Errorf("unknown to the supervisor: %q", got)
	}
	r.mu.Lock()
	r.live[id] = inv
	r.mu.Unlock()
	_, err := r.Kill(t.Context(), &api.KillRequest{IDs: []string{id[:6]}, Signal: int(unix.SIGKILL)})
	check(t, err)
	<-c.done // its caller has the result; what is left of it may be there for a moment
	r.settle()
	if got := ids(); len(got) != 0 {
		t.Errorf("ended: %q", got)
	}
	reply, err := r.Ps(t.Context(), true)
	check(t, err)
	if len(reply.Sandboxes) != 1 || reply.Sandboxes[0].State != "ended" || reply.Sandboxes[0].Result.Reason != api.ReasonKilled ||
		reply.Sandboxes[0].Command != "sh -c sleep 1000" {
		t.Errorf("ps -a: %+v", reply.Sandboxes)
	}
}

// TestOrphanCanBeKilled: what ps shows, an operator can end, if named in full.
func TestOrphanCanBeKilled(t *testing.T) {
	r := newRig(t, options{})
	c := r.start(shell("sleep 1000"), "")
	id := r.started(c)
	r.mu.Lock()
	delete(r.live, id)
	r.mu.Unlock()
	if _, err := r.Kill(t.Context(), &api.KillRequest{IDs: []string{id[:6]}, Signal: int(unix.SIGKILL)}); err == nil {
		t.Error("an orphan was ended by a prefix of its ID")
	}
	reply, err := r.Kill(t.Context(), &api.KillRequest{IDs: []string{id}, Signal: int(unix.SIGKILL)})
	check(t, err)
	if !slices.Equal(reply.IDs, []string{id}) {
		t.Errorf("killed %q, want %q", reply.IDs, id)
	}
	<-c.done
	r.settle()
}

func TestCloseDuringLaunchesLeavesNothing(t *testing.T) {
	r := newRig(t, options{})
	var calls []*call
	for range 8 {
		calls = append(calls, r.start(shell("sleep 1000"), ""))
	}
	r.started(calls[0])
	check(t, r.Close())
	for _, c := range calls {
		<-c.done
		if c.err == nil && c.result.Reason != api.ReasonStopped {
			t.Errorf("%+v", c.result)
		} else if c.err != nil && !errors.Is(c.err, ErrClosed) {
			t.Errorf("%v", c.err)
		}
	}
	if left := r.leftovers(); len(left) != 0 {
		t.Errorf("left %q", left)
	}
	if c := r.run("true"); !errors.Is(c.err, ErrClosed) {
		t.Errorf("after: %v", c.err)
	}
}

func TestFailedReloadKeepsTheLastGoodAndSaysSo(t *testing.T) {
	r := newRig(t, options{})
	good := r.load
	r.load = func() (*Declared, error) {
		return nil, ProblemsError{{File: "x.yaml", Line: 3, Key: "user", Message: "is odd", Severity: policy.SeverityError}}
	}
	if err := r.Reload(); err == nil {
		t.Fatal("no error")
	}
	reply, err := r.Ps(t.Context(), false)
	check(t, err)
	doctor, err := r.Doctor(t.Context())
	check(t, err)
	if !contains(reply.Notices, "x.yaml:3") || !strings.Contains(fmt.Sprint(doctor.Findings), "x.yaml:3") {
		t.Errorf("ps: %q, doctor: %+v", reply.Notices, doctor.Findings)
	}
	if c := r.run("true"); c.err != nil {
		t.Errorf("the last good policy: %v", c.err)
	}
	r.load = good
	check(t, r.Reload())
	if reply, err = r.Ps(t.Context(), false); err != nil || len(reply.Notices) != 0 {
		t.Errorf("after a good one: %q, %v", reply.Notices, err)
	}
}

// brokenEngine cannot say what exists.
type brokenEngine struct{ engine.Engine }

func (brokenEngine) List(context.Context) ([]engine.Listed, error) { return nil, errInjected }

func TestSupervisorDoesNotStartWhereItCannotSeeWhatIsLeft(t *testing.T) {
	r := newRig(t, options{})
	cfg := r.cfg
	cfg.Engines = map[policy.Engine]engine.Engine{policy.EngineOCI: brokenEngine{r.oci}}
	if _, err := New(t.Context(), cfg); !errors.Is(err, errInjected) {
		t.Errorf("got %v", err)
	}
}

func TestEndedInvocationHoldsNoArgumentsOrEnvironment(t *testing.T) {
	r := newRig(t, options{})
	req := shell("true # " + strings.Repeat("x", 100_000))
	req.Env = [][]byte{[]byte("A=b")}
	c := r.start(req, "")
	<-c.done
	r.settle()
	inv := r.ended[0]
	if c.err != nil || inv.req.Argv != nil || inv.req.Env != nil {
		t.Errorf("%v: %d arguments, %d variables are kept", c.err, len(inv.req.Argv), len(inv.req.Env))
	}
	data, err := json.Marshal(inv.describe())
	if err != nil || len(data) > 2000 || !bytes.Contains(data, []byte("sh -c true # xxx")) {
		t.Errorf("%v: %.300s", err, data)
	}
}

package supervisor

import (
	"context"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
)

// Operators look, signal and kill while invocations start and end. Under the
// race detector this is what finds a field that is read without its lock.
func TestOperatorsDoNotDisturbInvocations(t *testing.T) {
	r := newRig(t, options{policy: "limits: {timeout: 1m, output: 1MiB}\nlogs: {keep: 4KiB}"})
	ended := make(chan struct{})
	var operators sync.WaitGroup
	operate := func(f func(ctx context.Context, ids []string) error) {
		operators.Go(func() { r.operate(ended, f) })
	}
	operate(each(func(ctx context.Context, id string) error { _, err := r.Inspect(ctx, id); return err }))
	operate(each(func(ctx context.Context, id string) error {
		_, err := r.Kill(ctx, &api.KillRequest{IDs: []string{id}, Signal: int(unix.SIGWINCH)})
		return err
	}))
	operate(each(func(ctx context.Context, id string) error {
		return r.Logs(ctx, &api.LogsRequest{ID: id}, func(api.LogChunk) error { return nil })
	}))
	operate(func(ctx context.Context, _ []string) error { _, err := r.Stats(ctx, nil); return err })
	operate(func(context.Context, []string) error { return r.Reload() })
	for range 6 {
		var calls []*call
		for range 4 {
			calls = append(calls, r.start(shell("echo out; echo err >&2; exec cat"), "in"))
		}
		for _, c := range calls {
			<-c.done
			if c.err != nil || c.result.ExitCode != 0 || c.stdout.String() != "out\nin" || c.stderr.String() != "err\n" {
				t.Errorf("%+v, %v: %q %q", c.result, c.err, c.stdout, c.stderr)
			}
		}
	}
	close(ended)
	operators.Wait()
	r.settle()
	if left := r.leftovers(); len(left) != 0 {
		t.Errorf("left %q", left)
	}
}

// operate does f with what ps lists, again and again until the end.
func (r *rig) operate(ended <-chan struct{}, f func(ctx context.Context, ids []string) error) {
	for {
		select {
		case <-ended:
			return
		default:
		}
		reply, err := r.Ps(r.t.Context(), true)
		if err != nil {
			r.t.Errorf("ps: %v", err)
			return
		}
		var ids []string
		for _, row := range reply.Sandboxes {
			ids = append(ids, row.ID)
		}
		if err := f(r.t.Context(), ids); err != nil {
			r.t.Errorf("operate: %v", err)
			return
		}
	}
}

// each does f with one ID after the other. Most have ended meanwhile, which
// is an answer too.
func each(f func(ctx context.Context, id string) error) func(context.Context, []string) error {
	return func(ctx context.Context, ids []string) error {
		for _, id := range ids {
			_ = f(ctx, id)
		}
		return nil
	}
}

// What an operator may ask of a sandbox that runs, and is told of one that
// does not.
func TestOperatorsAreAnswered(t *testing.T) {
	r := newRig(t, options{policy: "limits: {timeout: 1m, memory: 64MiB}\nlogs: {keep: 4KiB}",
		more: map[string]string{"silent": ""}})
	c := r.start(shell("trap 'echo got it; exit 3' USR1; echo ready; while :; do read x; done"), "")
	c2 := r.start(&api.ExecRequest{Policy: "silent", Argv: [][]byte{[]byte("sleep"), []byte("1000")}}, "")
	id, silent := r.started(c), r.started(c2)
	r.eventually("ready", func() bool { return strings.Contains(c.stdout.String(), "ready") })
	inspected, err := r.Inspect(t.Context(), id[:8])
	check(t, err)
	if inspected.Posture == nil || inspected.Sandbox.State != "running" || len(inspected.Steps) != len(launchSteps) {
		t.Errorf("inspect: %+v", inspected)
	}
	stats, err := r.Stats(t.Context(), []string{id})
	if err != nil || len(stats.Stats) != 1 || stats.Stats[0].Memory == 0 || stats.Stats[0].MemoryLimit != 64<<20 || stats.Stats[0].Pids < 2 {
		t.Errorf("stats: %+v, %v", stats, err)
	}
	if err := r.Logs(t.Context(), &api.LogsRequest{ID: silent}, nil); asAPI(t, err).Code != "no-logs" {
		t.Errorf("logs of a policy that keeps none: %v", err)
	}
	for _, odd := range []string{"", "zz", "*"} {
		if _, err := r.Inspect(t.Context(), odd); asAPI(t, err).Code != "not-found" {
			t.Errorf("inspect %q: %v", odd, err)
		}
	}
	if _, err := r.Kill(t.Context(), &api.KillRequest{IDs: []string{id}, Signal: int(unix.SIGUSR1)}); err != nil {
		t.Errorf("signal: %v", err)
	}
	<-c.done
	if c.err != nil || c.result.ExitCode != 3 || !strings.Contains(c.stdout.String(), "got it") {
		t.Errorf("signal: %+v, %v, %q", c.result, c.err, c.stdout)
	}
	r.eventually("it has ended", func() bool {
		_, err := r.Kill(t.Context(), &api.KillRequest{IDs: []string{id}, Signal: int(unix.SIGKILL)})
		return err != nil && asAPI(t, err).Code == "not-found"
	})
	var kept string
	check(t, r.Logs(t.Context(), &api.LogsRequest{ID: id, Follow: true}, func(l api.LogChunk) error { kept += string(l.Data); return nil }))
	if kept != "ready\ngot it\n" {
		t.Errorf("logs after the end: %q", kept)
	}
	if reply, err := r.Kill(t.Context(), &api.KillRequest{All: true, Signal: int(unix.SIGKILL)}); err != nil || len(reply.IDs) != 1 || reply.IDs[0] != silent {
		t.Errorf("kill --all: %+v, %v", reply, err)
	}
	<-c2.done
}

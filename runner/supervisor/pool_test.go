package supervisor

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/engine"
	"github.com/creel-sandbox/creel/runner/pidfd"
)

const pooled = "pool: {warm: 2}"

// warmIDs are the sandboxes that ps says wait.
func (r *rig) warmIDs() []string {
	r.t.Helper()
	reply, err := r.Ps(r.t.Context(), false)
	check(r.t, err)
	var ids []string
	for _, row := range reply.Sandboxes {
		if row.State == stateWarm {
			if row.Processes != 1 || row.Command != "" || row.Caller != "" {
				r.t.Errorf("a sandbox that waits: %+v", row)
			}
			ids = append(ids, row.ID)
		}
	}
	slices.Sort(ids)
	return ids
}

// stocked waits until n sandboxes wait and can be taken.
func (r *rig) stocked(n int) []string {
	r.t.Helper()
	r.eventually("the pool is full", func() bool {
		r.pool.mu.Lock()
		defer r.pool.mu.Unlock()
		ready := 0
		for _, shelf := range r.pool.shelves {
			ready += len(shelf.waiting)
		}
		return ready == n && r.pool.making == 0
	})
	return r.warmIDs()
}

func (r *rig) taken(id string) bool {
	r.t.Helper()
	reply, err := r.Inspect(r.t.Context(), id)
	check(r.t, err)
	return slices.Contains(reply.Steps, "taken from the pool")
}

func TestCommandTakesASandboxThatWaits(t *testing.T) {
	for _, runtime := range runtimes {
		r := newRig(t, options{runtime: runtime, policy: pooled})
		var used []string
		for range 5 {
			waiting := r.stocked(2)
			c := r.run("ls -A /tmp; touch /tmp/left; echo mine >/workspace/file")
			if c.err != nil || c.stdout.String() != "" {
				t.Fatalf("%v, %q", c.err, c.stdout.String())
			}
			if !slices.Contains(waiting, c.result.ID) || !r.taken(c.result.ID) || slices.Contains(used, c.result.ID) {
				t.Errorf("ran in %s, of %v, after %v", c.result.ID, waiting, used)
			}
			used = append(used, c.result.ID)
		}
		r.stocked(2)
		check(t, r.Close())
		if left := r.leftovers(); len(left) != 0 {
			t.Errorf("left: %q", left)
		}
	}
}

// More commands at once than wait are launched cold, and the pool grows for
// those that follow, but not beyond its bound.
func TestPoolGrowsWithDemandAndShrinksAgain(t *testing.T) {
	r := newRig(t, options{policy: pooled})
	r.stocked(2)
	for range 4 {
		var calls []*call
		for range 12 {
			calls = append(calls, r.start(shell("true"), ""))
		}
		for _, c := range calls {
			<-c.done
			if c.err != nil {
				t.Fatal(c.err)
			}
		}
	}
	r.stocked(2 * growth)
	// As it would be found after a while.
	later := time.Now()
	for range 2*growth - 2 {
		later = later.Add(2 * calm)
		r.fill(later)
	}
	r.stocked(2)
}

func TestWhatIsNoLongerTrueIsNotTaken(t *testing.T) {
	r := newRig(t, options{policy: pooled})
	stale := r.stocked(2)
	check(t, os.Rename(r.workspace, r.workspace+"-old"))
	check(t, os.Mkdir(r.workspace, 0o755))
	check(t, os.Chown(r.workspace, nobody, nobody))
	if c := r.run("echo new >/workspace/new"); c.err != nil || slices.Contains(stale, c.result.ID) || !exists(r.workspace+"/new") {
		t.Errorf("after the workspace was replaced: %v", c.err)
	}
	before := r.stocked(2)
	check(t, r.Reload())
	r.eventually("a reload discards", func() bool {
		return !slices.ContainsFunc(r.warmIDs(), func(id string) bool { return slices.Contains(before, id) })
	})
	if ids := r.stocked(2); len(ids) != 2 {
		t.Errorf("after a reload: %v", ids)
	}
	r.load = func() (*Declared, error) { return r.declare(map[string]string{"other": ""}) }
	check(t, r.Reload())
	r.eventually("nothing waits for a policy that is gone", func() bool { return len(r.warmIDs()) == 0 && len(r.leftovers()) == 0 })
}

func TestSandboxThatEndsWhileItWaitsIsReplaced(t *testing.T) {
	r := newRig(t, options{policy: pooled})
	ids := r.stocked(2)
	_, err := r.Kill(t.Context(), &api.KillRequest{IDs: ids[:1], Signal: int(unix.SIGKILL)})
	check(t, err)
	r.eventually("it is gone", func() bool { return !slices.Contains(r.warmIDs(), ids[0]) })
	if again := r.stocked(2); !slices.Contains(again, ids[1]) {
		t.Errorf("the other one is gone as well: %v", again)
	}
	r.mu.Lock()
	w := r.warm[ids[1]]
	r.mu.Unlock()
	check(t, unix.Kill(w.sandbox.Pid, unix.SIGKILL))
	r.eventually("it has ended", func() bool { return pidfd.Ended(w.sandbox.Pidfd) })
	if c := r.run("true"); c.err != nil || c.result.ID == ids[1] {
		t.Errorf("%v in %s", c.err, ids[1])
	}
	r.stocked(2)
}

// failing is an engine that fails while it is told to.
type failing struct {
	engine.Engine
	fails *atomic.Bool
	tries *atomic.Int32
}

func (f failing) Create(ctx context.Context, req engine.Request) (*engine.Sandbox, error) {
	f.tries.Add(1)
	if f.fails.Load() {
		return nil, errInjected
	}
	return f.Engine.Create(ctx, req)
}

func TestPoolOfAFailingEngineNeitherSpinsNorDies(t *testing.T) {
	var fails atomic.Bool
	var tries atomic.Int32
	fails.Store(true)
	r := newRig(t, options{policy: pooled, wrap: func(e engine.Engine) engine.Engine { return failing{e, &fails, &tries} }})
	r.eventually("a second try", func() bool { return tries.Load() > 2 })
	time.Sleep(firstRetry) // a spinning pool would try thousands of times
	if n := tries.Load(); n > 20 {
		t.Errorf("%d tries", n)
	}
	if c := r.run("true"); !strings.Contains(asAPI(t, c.err).Message, errInjected.Error()) {
		t.Errorf("a command meanwhile: %v", c.err)
	}
	fails.Store(false)
	r.stocked(2)
	if c := r.run("true"); c.err != nil || !r.taken(c.result.ID) {
		t.Errorf("afterwards: %v", c.err)
	}
}

// Commands, kills of what waits and reloads at once: each command runs or is
// told why not, and nothing is left.
func TestPoolUnderFire(t *testing.T) {
	r := newRig(t, options{policy: pooled})
	stop := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			if i%10 == 9 {
				check(t, r.Reload())
			}
			for _, w := range r.waiting() {
				w.stop(api.ReasonKilled)
				break
			}
		}
	}()
	for range 15 {
		var calls []*call
		for range 4 {
			calls = append(calls, r.start(shell("exit 3"), ""))
		}
		for _, c := range calls {
			<-c.done
			if c.err == nil && c.result.ExitCode != 3 && c.result.Reason != api.ReasonKilled {
				t.Errorf("%+v", c.result)
			} else if c.err != nil && asAPI(t, c.err).Code != api.ReasonKilled {
				t.Errorf("refused: %v", c.err)
			}
		}
	}
	close(stop)
	<-ended
	check(t, r.Reload()) // which forgets that commands found the pool empty
	r.stocked(2)
	check(t, r.Close())
	if left := r.leftovers(); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}

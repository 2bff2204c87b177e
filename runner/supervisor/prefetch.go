package supervisor

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/boottime"
	"github.com/creel-sandbox/creel/runner/credential"
	"github.com/creel-sandbox/creel/runner/lease"
)

// A policy can have credentials made before there is a command for them
// (policy.Credential.Prefetch), for as many sandboxes of the pool as it says
// wait. They wait in this process's memory: the sandbox itself gets them with
// its job, as any does. Each belongs to one sandbox, and so to one command; is
// in the book of leases from the moment it exists; is given to a command only
// while it is fresh; and is revoked with its sandbox, or when it is fresh no
// more, and made anew.

// prefetch is what waits with one sandbox of the pool.
type prefetch struct {
	cancel context.CancelFunc // of whoever keeps it fresh
	mu     sync.Mutex
	over   bool   // the sandbox is a command's, or is taken away
	ready  *ahead // nil while there is nothing
}

// ahead are values that were made ahead, in the order of the policy.
type ahead struct {
	values []credential.Resolved
	leases *lease.Holding
	fresh  boottime.Instant // until when a command may get them
}

func (a *ahead) drop() {
	credential.DestroyAll(a.values)
	a.leases.Release()
}

// take gives what is ready, fresh and not revoked, or nil, and ends the
// prefetch. Whoever takes values destroys them, and releases their leases.
func (p *prefetch) take() *ahead {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	ready := p.ready
	p.over, p.ready = true, nil
	p.mu.Unlock()
	p.cancel() // after it was taken, or whoever keeps it fresh would spoil it
	if ready != nil && (ready.fresh.Over() || !ready.leases.Live()) {
		ready.drop()
		return nil
	}
	return ready
}

// drop ends the prefetch and revokes what there is of it.
func (p *prefetch) drop() {
	if ready := p.take(); ready != nil {
		ready.drop()
	}
}

// put has values wait, unless nobody comes for them any more.
func (p *prefetch) put(values *ahead) {
	p.mu.Lock()
	over := p.over
	if !over {
		p.ready = values
	}
	p.mu.Unlock()
	if over {
		values.drop()
	}
}

// spoil revokes values that are fresh no more, unless they were taken.
func (p *prefetch) spoil(values *ahead) {
	p.mu.Lock()
	ours := p.ready == values
	if ours {
		p.ready = nil
	}
	p.mu.Unlock()
	if ours {
		values.drop()
	}
}

// list shows the leases of what waits.
func (p *prefetch) list() []lease.Row {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ready == nil {
		return nil
	}
	return p.ready.leases.List()
}

// prefetchFor starts to make credentials for the sandboxes of a shelf that
// commands get first. It needs the pool's lock.
func (s *Supervisor) prefetchFor(shelf *shelf) {
	if shelf.unleased || !prefetches(shelf.policy) {
		return
	}
	for _, w := range shelf.waiting {
		if shelf.prefetching >= shelf.policy.Pool.Warm {
			return
		}
		if ctx, p := w.beginPrefetch(); p != nil {
			shelf.prefetching++
			go s.keepFresh(ctx, shelf, w, p)
		}
	}
}

// beginPrefetch gives the sandbox its prefetch; nil where it has one.
func (inv *invocation) beginPrefetch() (context.Context, *prefetch) {
	inv.mu.Lock()
	defer inv.mu.Unlock()
	if inv.prefetch != nil || inv.reason != "" {
		return nil, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	inv.prefetch = &prefetch{cancel: cancel}
	return ctx, inv.prefetch
}

// dropPrefetch ends what may have begun.
func (inv *invocation) dropPrefetch() {
	inv.mu.Lock()
	p := inv.prefetch
	inv.mu.Unlock()
	p.drop()
}

func prefetches(p *policy.Policy) bool {
	for _, c := range p.Credentials {
		if c.Prefetch {
			return true
		}
	}
	return false
}

// errUnleased says that a value would be kept ahead which nobody could take
// back.
var errUnleased = errors.New("prefetch credentials: the vault gave a value without a lease, which is not kept ahead of a command; leave 'prefetch' out")

// keepFresh has values made for a sandbox, and made again as they grow old,
// until they are taken or dropped.
func (s *Supervisor) keepFresh(ctx context.Context, shelf *shelf, w *invocation, p *prefetch) {
	defer func() {
		s.pool.mu.Lock()
		shelf.prefetching--
		s.pool.mu.Unlock()
		s.pool.nudge()
	}()
	wait := time.Duration(0)
	for {
		s.lull.wait()
		if ctx.Err() != nil {
			return
		}
		values, err := s.mint(ctx, w)
		switch {
		case errors.Is(err, errUnleased):
			s.pool.mu.Lock()
			shelf.unleased = true // until the policies are read again
			s.pool.mu.Unlock()
			s.cfg.Log.WithField("policy", w.policy.Name).WithError(err).Error("no credentials are prefetched")
			return
		case err != nil:
			if wait == 0 && ctx.Err() == nil {
				s.cfg.Log.WithField("policy", w.policy.Name).WithError(err).Warn("prefetching credentials failed; it is tried again")
			}
			wait = min(max(2*wait, firstRetry), lastRetry)
			pause(ctx, time.After(wait))
		default:
			wait = 0
			s.hold(ctx, p, values)
		}
	}
}

// hold has values wait until they are fresh no more.
func (s *Supervisor) hold(ctx context.Context, p *prefetch, values *ahead) {
	alarm, err := boottime.NewAlarm(values.fresh)
	if err != nil { // there are no descriptors: what is not watched is not kept
		values.drop()
		s.cfg.Log.WithError(err).Error("prefetching credentials failed; it is tried again")
		pause(ctx, time.After(lastRetry))
		return
	}
	defer alarm.Stop()
	p.put(values)
	pause(ctx, alarm.C)
	p.spoil(values)
}

func pause[T any](ctx context.Context, until <-chan T) {
	select {
	case <-until:
	case <-ctx.Done():
	}
}

// mint has the values of one sandbox made.
func (s *Supervisor) mint(ctx context.Context, w *invocation) (*ahead, error) {
	var wanted []policy.Credential
	for _, c := range w.policy.Credentials {
		if c.Prefetch {
			wanted = append(wanted, c)
		}
	}
	asked := boottime.Now()
	held := s.cfg.Leases.Hold(w.id, w.policy.Name)
	values, err := s.cfg.Credentials.Resolve(ctx, wanted, held.Keep)
	if err != nil {
		held.Release()
		return nil, err
	}
	made := &ahead{values: values, leases: held}
	for i, value := range values {
		if value.Lease.Accessor == "" {
			made.drop()
			return nil, errUnleased
		}
		life := wanted[i].TTL
		if ends := value.Lease.Ends; ends != 0 { // the vault may have given less
			life = min(life, time.Duration(ends-asked))
		}
		made.fresh = boottime.First(made.fresh, asked.Add(policy.Fresh(life)))
	}
	return made, nil
}

package supervisor

import (
	"context"
	"errors"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/pidfd"
)

// The pool keeps sandboxes made ahead of the commands that will run in them:
// started, their posture compared, waiting for a job. Each is made from a
// policy alone, so it holds no command, no credential and nothing of a caller,
// and each is used once. (Where a policy has credentials made ahead too, they
// are not in the sandbox: see prefetch.) What is asked of a sandbox before its
// job is asked of one from the pool as well, since the same steps made it.

const (
	// maxWarm bounds the sandboxes that wait, of all policies together.
	maxWarm = 64
	// growth bounds how far beyond what a policy asks for its part of the pool
	// may grow while commands find it empty, as a factor.
	growth = 4
	// calm is how long no command must have found it empty before it shrinks by
	// one again.
	calm = 10 * time.Second
	// After an engine failed, the next try waits, for twice as long each time.
	firstRetry = 100 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// pool is the sandboxes that wait, by policy.
type pool struct {
	mu      sync.Mutex
	shelves map[string]*shelf
	making  int
	changed chan struct{} // has room for one: something is to be looked at
	stopped chan struct{}
}

// shelf is one policy's part of the pool.
type shelf struct {
	policy  *policy.Policy
	waiting []*invocation // oldest first
	making  int
	target  int
	missed  time.Time // when a command last found it empty
	wait    time.Duration
	retry   time.Time
	// prefetching counts the sandboxes for which credentials are kept ahead.
	prefetching int
	unleased    bool // they have no lease, so that none are
}

func newPool() *pool {
	return &pool{shelves: map[string]*shelf{}, changed: make(chan struct{}, 1), stopped: make(chan struct{})}
}

// nudge has the keeper look again.
func (p *pool) nudge() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// keepPool fills the pool until the supervisor closes. It is the only one
// that starts to make sandboxes ahead, half as many at once as there are
// processors, so that it cannot take all of the machine from commands.
func (s *Supervisor) keepPool() {
	timer := time.NewTimer(calm)
	defer timer.Stop()
	for {
		select {
		case <-s.pool.stopped:
			return
		case <-s.pool.changed:
		case <-timer.C:
		}
		timer.Reset(s.fill(time.Now()))
	}
}

// fill starts what is missing, drops what is too much, and says when to look
// again if nothing happens before.
func (s *Supervisor) fill(now time.Time) time.Duration {
	p := s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	again := calm
	total := p.making
	for _, shelf := range p.shelves {
		total += len(shelf.waiting)
	}
	for _, name := range slices.Sorted(maps.Keys(p.shelves)) {
		shelf := p.shelves[name]
		if shelf.target > shelf.policy.Pool.Warm && now.Sub(shelf.missed) > calm {
			shelf.target--
			shelf.missed = now
		}
		for len(shelf.waiting) > shelf.target {
			surplus := shelf.waiting[0]
			shelf.waiting = shelf.waiting[1:]
			surplus.stop(api.ReasonStopped) // whoever watches it takes it away
		}
		s.prefetchFor(shelf)
		if wait := shelf.retry.Sub(now); wait > 0 {
			again = min(again, wait)
			continue
		}
		for len(shelf.waiting)+shelf.making < shelf.target && p.making < max(1, runtime.NumCPU()/2) && total < maxWarm {
			shelf.making++
			p.making++
			total++
			go s.makeAhead(shelf)
		}
	}
	return again
}

// makeAhead makes one sandbox for a shelf and then stays with it: until a
// command takes it, or it ends.
func (s *Supervisor) makeAhead(shelf *shelf) {
	s.lull.wait()
	w, err := s.vacancy(shelf.policy)
	failed := err != nil && !errors.Is(err, ErrClosed)
	if err == nil {
		if err = s.runSteps(context.Background(), w, true); err != nil {
			failed = w.stopped() == "" // or else somebody has ended it
			s.discard(w)
		}
	}
	p := s.pool
	p.mu.Lock()
	p.making--
	shelf.making--
	switch kept := p.shelves[shelf.policy.Name] == shelf; {
	case failed && kept:
		shelf.wait = min(max(2*shelf.wait, firstRetry), lastRetry)
		shelf.retry = time.Now().Add(shelf.wait)
		s.cfg.Log.WithField("policy", shelf.policy.Name).WithField("retry", shelf.wait.String()).WithError(err).
			Warn("making a sandbox ahead failed")
	case err == nil && kept:
		shelf.wait = 0
		w.setState(stateWarm)
		shelf.waiting = append(shelf.waiting, w)
	case err == nil:
		w.stop(api.ReasonStopped) // its policy is no longer in force
	}
	p.mu.Unlock()
	p.nudge()
	go s.garbage.collect(s.lull)
	if err == nil {
		s.watch(shelf, w)
	}
}

// vacancy enters a sandbox that has no command yet.
func (s *Supervisor) vacancy(p *policy.Policy) (*invocation, error) {
	declared := s.declared.Load()
	engine, made, err := s.engineOf(declared, p)
	if err != nil {
		return nil, err
	}
	who, err := s.users.identify(p.User)
	if err != nil {
		return nil, err
	}
	w := &invocation{
		id: newID(), req: &api.ExecRequest{}, policy: p, engine: engine, made: made, who: who, created: time.Now(),
		state: stateCreating, logs: newTail(0), cancel: func() {}, abandoned: make(chan struct{}),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	s.warm[w.id] = w
	s.tearing.Add(1)
	return w, nil
}

// watch waits for the end of a sandbox that waits, and takes it away unless it
// is a command's by then.
func (s *Supervisor) watch(shelf *shelf, w *invocation) {
	_ = pidfd.Wait(w.sandbox.Pidfd) // an error says that its invocation has closed it
	s.mu.Lock()
	ours := s.warm[w.id] == w
	s.mu.Unlock()
	if !ours {
		return // its invocation ends it
	}
	s.pool.mu.Lock()
	shelf.waiting = slices.DeleteFunc(shelf.waiting, func(other *invocation) bool { return other == w })
	s.pool.mu.Unlock()
	s.discard(w)
	s.pool.nudge()
}

// discard takes a sandbox away that no command will have.
func (s *Supervisor) discard(w *invocation) {
	s.mu.Lock()
	ours := s.warm[w.id] == w
	delete(s.warm, w.id)
	s.mu.Unlock()
	if !ours {
		return
	}
	w.stop(api.ReasonStopped)
	w.dropPrefetch()
	s.unwind(w)
	s.tearing.Done()
}

// take gives a sandbox that waits for a command of this policy, or nil. One
// that would be made otherwise now is discarded.
func (s *Supervisor) take(ctx context.Context, inv *invocation) *invocation {
	for {
		w := s.pool.pop(inv.policy)
		if w == nil {
			return nil
		}
		if w.who == inv.who && w.engine == inv.engine && w.stopped() == "" && !pidfd.Ended(w.sandbox.Pidfd) && s.current(ctx, w) {
			return w
		}
		w.stop(api.ReasonStopped) // whoever watches it takes it away
	}
}

// pop takes the oldest sandbox off a policy's shelf, and lets the shelf grow
// when there is none.
func (p *pool) pop(of *policy.Policy) *invocation {
	p.mu.Lock()
	defer p.mu.Unlock()
	shelf := p.shelves[of.Name]
	if shelf == nil || shelf.policy != of {
		return nil
	}
	defer p.nudge()
	if len(shelf.waiting) == 0 {
		shelf.missed = time.Now()
		shelf.target = min(shelf.target+1, growth*of.Pool.Warm, maxWarm)
		return nil
	}
	w := shelf.waiting[0]
	shelf.waiting = shelf.waiting[1:]
	return w
}

// current says whether the root of a sandbox is the one that a new sandbox
// would get: its sources, its image and the host's own files are the same.
func (s *Supervisor) current(ctx context.Context, w *invocation) bool {
	root, err := w.engine.Prepare(ctx, w.policy, w.who)
	if err != nil {
		return false // a cold launch says why
	}
	same := root.Path == w.root.Path && root.Image == w.root.Image &&
		root.View.Dev == w.root.View.Dev && root.View.Ino == w.root.View.Ino && slices.Equal(root.View.Mounts, w.root.View.Mounts)
	if err := root.Release(); err != nil {
		s.cfg.Log.WithField("policy", w.policy.Name).WithError(err).Error("release root")
	}
	return same
}

// stock brings the pool in line with the policies in force: what was made
// from another reading of them is discarded.
func (s *Supervisor) stock() {
	declared := s.declared.Load()
	p := s.pool
	p.mu.Lock()
	var stale []*invocation
	for _, shelf := range p.shelves {
		stale = append(stale, shelf.waiting...)
	}
	p.shelves = map[string]*shelf{}
	for name, of := range declared.Policies.All() {
		if of.Pool.Warm > 0 {
			p.shelves[name] = &shelf{policy: of, target: min(of.Pool.Warm, maxWarm)}
		}
	}
	p.mu.Unlock()
	for _, w := range stale {
		w.stop(api.ReasonStopped) // whoever watches it takes it away
	}
	p.nudge()
}

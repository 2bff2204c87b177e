package docker

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// How long the first and the longest wait are between two rounds of tries.
const (
	firstRetry   = 250 * time.Millisecond
	longestRetry = 30 * time.Second
)

// doubt is how long a container whose making was not answered may still
// appear: a daemon that is that slow has long been given up.
const doubt = 2 * time.Minute

// lost are the sandboxes whose removal failed, and the worry that there are
// others that nobody has heard of: of a supervisor that was killed, or of a
// call whose answer was lost. One goroutine looks after them, so a daemon that
// is down is not asked more often the more there are.
type lost struct {
	mu    sync.Mutex
	ids   map[string]bool
	until time.Time // containers that nobody knows are looked for until then

	failing atomic.Bool
	woken   chan struct{}
	cancel  context.CancelFunc
	done    chan struct{}
}

func (l *lost) start(e *Engine) {
	ctx, cancel := context.WithCancel(context.Background())
	// A former supervisor may have been killed in the middle of a call.
	l.ids, l.until = map[string]bool{}, time.Now().Add(doubt)
	l.woken, l.done, l.cancel = make(chan struct{}, 1), make(chan struct{}), cancel
	go l.run(ctx, e)
}

// stop ends the goroutine.
func (l *lost) stop() {
	l.cancel()
	<-l.done
}

// wake makes the next round come at once.
func (l *lost) wake() {
	select {
	case l.woken <- struct{}{}:
	default:
	}
}

// answered says that the daemon does what it is asked: a good time to try
// again what failed.
func (l *lost) answered() {
	if l.failing.Load() {
		l.wake()
	}
}

func (l *lost) add(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ids[id] = true
	l.wake()
}

// suspect says that there may be a container that nobody knows.
func (l *lost) suspect() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = time.Now().Add(doubt)
	l.wake()
}

// work gives what there is to do now.
func (l *lost) work() (ids []string, search bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Sorted(maps.Keys(l.ids)), !l.until.IsZero()
}

func (l *lost) run(ctx context.Context, e *Engine) {
	defer close(l.done)
	for wait := firstRetry; ; wait = min(2*wait, longestRetry) {
		l.failing.Store(!l.round(ctx, e))
		var retry <-chan time.Time // never, when there is nothing to do
		if ids, search := l.work(); len(ids) > 0 || search {
			// Half of it at random, so that supervisors of one daemon do not meet.
			retry = time.After(wait/2 + rand.N(wait/2))
		}
		select {
		case <-ctx.Done():
			return
		case <-retry:
		case <-l.woken:
			wait = firstRetry
			if !sleep(ctx, wait) { // at most so often
				return
			}
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// round tries everything once, and ends with the first failure, since the
// daemon is then likely to be its reason. It says whether it got through.
func (l *lost) round(ctx context.Context, e *Engine) bool {
	ids, search := l.work()
	for _, id := range ids {
		if err := e.remove(ctx, id); err != nil {
			e.cfg.Log.WithField("sandbox", id).WithError(err).Debug("a sandbox is not gone yet")
			return false
		}
		e.cfg.Log.WithField("sandbox", id).Info("removed a sandbox that was lost")
		l.mu.Lock()
		delete(l.ids, id)
		l.mu.Unlock()
	}
	return !search || l.search(ctx, e)
}

// search looks for containers of this supervisor that it does not know. One
// that is being made has its state directory before the daemon hears of it.
func (l *lost) search(ctx context.Context, e *Engine) bool {
	l.mu.Lock()
	began, until := time.Now(), l.until
	l.mu.Unlock()
	found, err := e.labelled(ctx)
	if err != nil {
		return false
	}
	known, err := e.recordedIDs()
	if err != nil {
		return false
	}
	for _, id := range found {
		if !slices.Contains(known, id) {
			l.add(id)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.until.Equal(until) && !began.Before(until) {
		l.until = time.Time{}
	}
	return true
}

package server

import (
	"errors"
	"sync"
	"time"

	"github.com/creel-sandbox/creel/runner/api"
)

// So many commands may be refused at once, and so many a second for long,
// before who is refused keeps its place for a while: each leaves a line in the
// log, and journald drops those of a unit that writes too many, others' too
// (RateLimitBurst= of journald.conf(5): 10,000 in 30 s).
const (
	refusalsAtOnce    = 256
	refusalsPerSecond = 20
)

// pace is that of refusals (a generic cell rate algorithm, ITU-T I.371).
type pace struct {
	mu  sync.Mutex
	due time.Time // when those so far would have come at the even pace
}

// next counts one at now, and says how long it is to take, at most longest.
func (p *pace) next(now time.Time, longest time.Duration) time.Duration {
	const interval = time.Second / refusalsPerSecond
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.due.Before(now) {
		p.due = now
	}
	free := now.Add(refusalsAtOnce * interval)
	p.due = p.due.Add(interval)
	if most := free.Add(longest); p.due.After(most) {
		p.due = most
	}
	return p.due.Sub(free)
}

// slow has a call whose command was refused keep its place for a while where
// many were, also when its peer has left: whoever does not wait for the answer
// is the one to slow down. Others take that place before they are turned away.
func (c *call) slow(err error) {
	var told *api.Error
	if !errors.As(err, &told) || told.Code != api.CodeDenied {
		return
	}
	wait := c.server.refused.next(time.Now(), c.server.options.RefusalPause)
	if wait <= 0 {
		return
	}
	c.seats.rest(c, c.seats.idle.PushFront)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.server.stopping:
	}
}

package server

import (
	"errors"
	"time"

	"golang.org/x/time/rate"

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

// newPace is that of refusals.
func newPace() *rate.Limiter { return rate.NewLimiter(refusalsPerSecond, refusalsAtOnce) }

// next counts a refusal at now, and says how long it is to take, at most longest.
func next(pace *rate.Limiter, now time.Time, longest time.Duration) time.Duration {
	reserved := pace.ReserveN(now, 1)
	wait := reserved.DelayFrom(now)
	if wait > longest {
		reserved.CancelAt(now) // none is counted beyond that
	}
	return min(wait, longest)
}

// slow has a call whose command was refused keep its place for a while where
// many were, also when its peer has left: whoever does not wait for the answer
// is the one to slow down. Others take that place before they are turned away.
func (c *call) slow(err error) {
	var told *api.Error
	if !errors.As(err, &told) || told.Code != api.CodeDenied {
		return
	}
	wait := next(c.server.refused, time.Now(), c.server.options.RefusalPause)
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

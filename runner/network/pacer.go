package network

import (
	"time"

	"golang.org/x/time/rate"
)

// The pace of one sandbox's connections: a burst, then so many a second;
// further ones wait in the kernel's backlog, which is bounded. Each costs the
// supervisor about 0.2 ms of CPU that the sandbox's own limits do not count,
// and leaves a TIME_WAIT on one of the host's 28,000 client ports for a
// minute (tcp(7), ip_local_port_range): a sandbox must not take them all.
const (
	burst     = 256
	perSecond = 200
)

// newPace is that of one relay.
func newPace() *rate.Limiter { return rate.NewLimiter(perSecond, burst) }

// next counts a connection at now and returns how long to wait before another.
func next(pace *rate.Limiter, now time.Time) time.Duration {
	return pace.ReserveN(now, 1).DelayFrom(now)
}

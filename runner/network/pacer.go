package network

import "time"

// The pace of one sandbox's connections: a burst, then so many a second;
// further ones wait in the kernel's backlog, which is bounded. Each costs the
// supervisor about 0.2 ms of CPU that the sandbox's own limits do not count,
// and leaves a TIME_WAIT on one of the host's 28,000 client ports for a
// minute (tcp(7), ip_local_port_range): a sandbox must not take them all.
const (
	burst     = 256
	perSecond = 200
)

// pacer spaces events: a generic cell rate algorithm (ITU-T I.371). With an
// interval of zero it never waits.
type pacer struct {
	interval time.Duration
	burst    int
	due      time.Time // when the events so far would have ended at the even pace
}

// next counts an event at now and returns how long to wait before another.
func (p *pacer) next(now time.Time) time.Duration {
	if p.due.Before(now) {
		p.due = now
	}
	p.due = p.due.Add(p.interval)
	return p.due.Sub(now) - time.Duration(p.burst)*p.interval
}

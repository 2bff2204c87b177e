package network

import (
	"testing"
	"time"
)

func TestPaceAllowsABurstAndThenTheRate(t *testing.T) {
	p := newPace()
	now := time.Unix(1000, 0)
	for i := range burst {
		if wait := next(p, now); wait > 0 {
			t.Errorf("event %d of the burst waits %s", i+1, wait)
		}
	}
	for i := 1; i <= 2*burst; i++ {
		want := time.Duration(i) * time.Second / perSecond
		if wait := next(p, now); (wait - want).Abs() > time.Microsecond { // a limiter counts in fractions
			t.Errorf("event %d after the burst waits %s, want %s", i, wait, want)
		}
	}
	// After a rest the whole burst is there again, and not more of it.
	now = now.Add(time.Hour)
	waits := 0
	for range burst + 1 {
		if next(p, now) > 0 {
			waits++
		}
	}
	if waits != 1 {
		t.Errorf("%d of %d events after a rest wait, want 1", waits, burst+1)
	}
}

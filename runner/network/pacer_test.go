package network

import (
	"testing"
	"time"
)

func TestPaceAllowsABurstAndThenTheRate(t *testing.T) {
	p := pacer{interval: 10 * time.Millisecond, burst: 5}
	now := time.Unix(1000, 0)
	for i := range 5 {
		if wait := p.next(now); wait > 0 {
			t.Errorf("event %d of the burst waits %s", i+1, wait)
		}
	}
	for i := 1; i <= 20; i++ {
		if wait := p.next(now); wait != time.Duration(i)*10*time.Millisecond {
			t.Errorf("event %d after the burst waits %s", i, wait)
		}
	}
	// After a rest the whole burst is there again, and not more of it.
	now = now.Add(time.Hour)
	waits := 0
	for range 6 {
		if p.next(now) > 0 {
			waits++
		}
	}
	if waits != 1 {
		t.Errorf("%d of 6 events after a rest wait, want 1", waits)
	}
}

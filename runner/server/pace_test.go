package server

import (
	"testing"
	"time"
)

func TestRefusalsAreSlowedDownOnlyWhenThereAreMany(t *testing.T) {
	p := newPace()
	now := time.Unix(1e9, 0)
	for i := range refusalsAtOnce {
		if wait := next(p, now, time.Minute); wait > 0 {
			t.Fatalf("the first but %d wait %s", i, wait)
		}
	}
	for i := 1; i < 10; i++ {
		if wait, want := next(p, now, time.Minute), time.Duration(i)*time.Second/refusalsPerSecond; wait != want {
			t.Errorf("the %d. behind them waits %s, want %s", i, wait, want)
		}
	}
	for range 10000 {
		if wait := next(p, now, time.Minute); wait > time.Minute {
			t.Fatalf("one waits %s", wait)
		}
	}
	if wait := next(p, now.Add(2*time.Minute), time.Minute); wait > 0 {
		t.Errorf("long after the flood one waits %s", wait)
	}
}

package supervisor

import (
	"runtime"
	"testing"
	"time"
)

var kept [][]byte

func TestGarbageIsCollectedInALullAndOnlyThen(t *testing.T) {
	cycles := func() uint32 {
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.NumForcedGC
	}
	l := newLull()
	var g garbage
	runtime.GC()
	before := cycles()
	if g.collect(l); cycles() != before {
		t.Error("it collects with nothing to collect")
	}
	kept = append(kept[:0], make([]byte, enough), make([]byte, enough))
	leave := l.enter()
	done := make(chan struct{})
	go func() { g.collect(l); close(done) }()
	next := time.NewTicker(young / 4)
	defer next.Stop()
	for waiting := true; waiting; {
		select {
		case <-done:
			waiting = false
		case <-next.C: // so that a command is always young
			later := l.enter()
			leave()
			leave = later
		}
	}
	leave()
	if cycles() != before {
		t.Error("it collects while somebody waits")
	}
	if g.collect(l); cycles() != before+1 {
		t.Error("it does not collect in a lull")
	}
}

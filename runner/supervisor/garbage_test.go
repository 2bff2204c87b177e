package supervisor

import (
	"runtime"
	"runtime/debug"
	"testing"
)

var kept [][]byte

func TestGarbageIsCollectedInALullAndOnlyThen(t *testing.T) {
	cycles := func() uint32 {
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.NumForcedGC
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // or the runtime may begin one of its own, after what other tests left
	l := newLull()
	var g garbage
	runtime.GC()
	before := cycles()
	if g.collect(l); cycles() != before {
		t.Error("it collects with nothing to collect")
	}
	kept = append(kept[:0], make([]byte, enough), make([]byte, enough))
	l.young, l.ended = 1, make(chan struct{}) // a command that stays young
	g.collect(l)
	if cycles() != before {
		t.Error("it collects while somebody waits")
	}
	l.young, l.ended = 0, nil
	if g.collect(l); cycles() != before+1 {
		t.Error("it does not collect in a lull")
	}
}

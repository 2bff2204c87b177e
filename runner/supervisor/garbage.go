package supervisor

import (
	"runtime"
	"runtime/metrics"
	"sync"
)

// garbage is collected in lulls. The Go runtime would do it as soon as the heap
// has doubled, which is at 4 MiB, after a dozen commands: for a few
// milliseconds it then has every processor, and one call in fifty waits.
type garbage struct {
	collecting sync.Mutex
}

// enough bytes are worth a collection, and far from where the runtime begins
// one of its own.
const enough = 1 << 20

// collect collects garbage, should there be enough, and nobody wait for a
// command. Where there is always somebody the runtime does it in time.
func (g *garbage) collect(l *lull) {
	if !g.collecting.TryLock() {
		return
	}
	defer g.collecting.Unlock()
	if sinceCollection() >= enough && l.wait() {
		runtime.GC()
	}
}

// sinceCollection is how many bytes of the heap were not in use when the last
// collection ended.
func sinceCollection() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	used, live := sample[0].Value.Uint64(), sample[1].Value.Uint64()
	return max(used, live) - live
}

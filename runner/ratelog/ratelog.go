// Package ratelog says which of many events of one kind are logged, and counts
// the others: whoever can bring them about must not fill the log with them.
//
// It imports x/time/rate and the standard library, and never writes a log.
package ratelog

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Limit is that of one kind of event. It may be used by several goroutines.
type Limit struct {
	mu      sync.Mutex
	limiter *rate.Limiter
	skipped int // since one was logged
}

// New lets atOnce events be logged at once, and then one in every span of time.
// Both must be positive: of no more than 0 at once none is ever logged, and with no
// span between them all are (rate.Every).
func New(atOnce int, every time.Duration) *Limit {
	return &Limit{limiter: rate.NewLimiter(rate.Every(every), atOnce)}
}

// Note counts an event at now. It says whether that is logged, how many before
// it were not, and whether another one right after it will not be.
func (l *Limit) Note(now time.Time) (skipped int, last, log bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.limiter.AllowN(now, 1) {
		l.skipped++
		return 0, false, false
	}
	skipped, l.skipped = l.skipped, 0
	return skipped, l.limiter.TokensAt(now) < 1, true
}

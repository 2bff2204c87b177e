package supervisor

import (
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// So many refusals of egress are logged for each sandbox at once, and then one
// in so long: a command that tries on and on must not fill the journal, and an
// agent that runs for months must not fall silent for good by what it tried on
// its first day.
const (
	refusalsAtOnce = 100
	refusalEvery   = time.Minute
)

// refusals are those of one sandbox.
type refusals struct {
	mu       sync.Mutex
	limiter  *rate.Limiter
	unlogged int // since one was logged
}

func newRefusals() *refusals {
	return &refusals{limiter: rate.NewLimiter(rate.Every(refusalEvery), refusalsAtOnce)}
}

// note counts one at now, and says whether it is logged and what is to be said of
// the others: how many before it are not, or that those right after it will not be.
func (r *refusals) note(now time.Time) (others string, log bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.limiter.AllowN(now, 1) {
		r.unlogged++
		return "", false
	}
	if r.unlogged > 0 {
		others = fmt.Sprintf("; %d before it are not logged", r.unlogged)
		r.unlogged = 0
	}
	if r.limiter.TokensAt(now) < 1 {
		others += fmt.Sprintf("; further ones of this sandbox are not logged within %v", refusalEvery)
	}
	return others, true
}

package supervisor

import (
	"fmt"
	"time"

	"github.com/creel-sandbox/creel/runner/ratelog"
)

// So many refusals of egress are logged for each sandbox at once, and then one
// in so long: a command that tries on and on must not fill the journal, and an
// agent that runs for months must not fall silent for good by what it tried on
// its first day.
const (
	egressRefusalsAtOnce = 100
	egressRefusalEvery   = time.Minute
)

// egressRefusals are those of one sandbox.
type egressRefusals struct{ limit *ratelog.Limit }

func newEgressRefusals() egressRefusals {
	return egressRefusals{ratelog.New(egressRefusalsAtOnce, egressRefusalEvery)}
}

// note counts one at now, and says whether it is logged and what is to be said of
// the others: how many before it are not, or that those right after it will not be.
func (r egressRefusals) note(now time.Time) (others string, log bool) {
	skipped, last, log := r.limit.Note(now)
	if skipped > 0 {
		others = fmt.Sprintf("; %d before it are not logged", skipped)
	}
	if last {
		others += fmt.Sprintf("; further ones of this sandbox are not logged within %v", egressRefusalEvery)
	}
	return others, log
}

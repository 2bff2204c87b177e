package supervisor

import (
	"strings"
	"testing"
	"time"
)

// TestRefusalsOfAnAgentAreLoggedForAsLongAsItRuns: whoever makes many to have the
// journal miss the next one has it miss what comes within a minute, and is counted.
func TestRefusalsOfAnAgentAreLoggedForAsLongAsItRuns(t *testing.T) {
	r := newEgressRefusals()
	now := time.Unix(1000, 0)
	logged, last := 0, ""
	for range 250 {
		if others, log := r.note(now); log {
			logged, last = logged+1, others
		}
	}
	if logged != egressRefusalsAtOnce || !strings.Contains(last, "further ones of this sandbox are not logged") {
		t.Errorf("of 250 at once %d are logged, the last with %q", logged, last)
	}
	if _, log := r.note(now.Add(egressRefusalEvery / 2)); log {
		t.Error("another is logged within the time")
	}
	if others, log := r.note(now.Add(egressRefusalEvery)); !log || !strings.Contains(others, "; 151 before it are not logged") {
		t.Errorf("after the time: logged %v, with %q", log, others)
	}
	later := now.Add(200 * egressRefusalEvery)
	if others, log := r.note(later); !log || others != "" {
		t.Errorf("long after: logged %v, with %q", log, others)
	}
}

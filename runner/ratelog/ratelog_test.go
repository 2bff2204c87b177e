package ratelog

import (
	"testing"
	"time"
)

func TestSomeAreLoggedAndTheOthersCounted(t *testing.T) {
	l := New(3, time.Second)
	now := time.Unix(1000, 0)
	for i, want := range []struct {
		after     time.Duration
		skipped   int
		last, log bool
	}{
		{0, 0, false, true}, {0, 0, false, true}, {0, 0, true, true}, {0, 0, false, false},
		{time.Second / 2, 0, false, false}, {time.Second / 2, 2, true, true}, {0, 0, false, false},
		{time.Hour, 1, false, true}, {0, 0, false, true}, {0, 0, true, true}, {0, 0, false, false},
	} {
		now = now.Add(want.after)
		if skipped, last, log := l.Note(now); skipped != want.skipped || last != want.last || log != want.log {
			t.Errorf("%d: %d skipped, last %v, logged %v, want %+v", i, skipped, last, log, want)
		}
	}
}

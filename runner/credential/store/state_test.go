package store

import (
	"testing"

	"github.com/creel-sandbox/creel/runner/filestate"
)

// Whoever has a value may keep it as long as the state is the same.
func TestStateIsAnotherAfterEachChange(t *testing.T) {
	r := newRig(t)
	if r.State("token") != (filestate.State{}) {
		t.Error("where there is no store, there is a state")
	}
	last := filestate.State{}
	for number, change := range []func() error{
		func() error { return r.Set("token", secret("the first value")) },
		func() error { return r.Rotate("token", secret("the other value")) }, // of the same length
		func() error { return r.Rotate("token", secret("the third value")) },
		func() error { return r.Set("another", secret("another value")) },
		func() error { return r.Remove("another") },
	} {
		check(t, change())
		if state := r.State("token"); state == last || state == (filestate.State{}) {
			t.Errorf("change %d does not show", number)
		}
		last = r.State("token")
		if _, err := r.fetch("token"); err != nil {
			t.Error(err)
		}
		if r.State("token") != last {
			t.Error("control: reading changes it")
		}
	}
}

package filestate

import (
	"os"
	"testing"
	"time"
)

func TestStateChangesWithTheFile(t *testing.T) {
	path := t.TempDir() + "/file"
	if Of(path) != (State{}) {
		t.Error("a file that is not there has a state")
	}
	write := func(to, text string) {
		t.Helper()
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(path, "one")
	first := Of(path)
	if first == (State{}) || Of(path) != first {
		t.Fatal("control: the state of a file that nobody touches is not one and the same")
	}
	write(path, "more")
	second := Of(path)
	if second == first {
		t.Error("written, and the state is the same")
	}
	write(path+".new", "more")
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	if Of(path) == second {
		t.Error("replaced by another of the same size, and the state is the same")
	}
}

func TestStateSettlesOnceAnyChangeWouldShow(t *testing.T) {
	path := t.TempDir() + "/file"
	if Of(path).Settled(time.Now().Add(time.Hour)) {
		t.Error("that of a file that is not there")
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	state := Of(path)
	changed := time.Unix(state.ctime.Unix())
	for after, settled := range map[time.Duration]bool{-time.Hour: false, 0: false, tick: false, tick + time.Nanosecond: true, time.Hour: true} {
		if state.Settled(changed.Add(after)) != settled {
			t.Errorf("%v after its change: %v", after, !settled)
		}
	}
}

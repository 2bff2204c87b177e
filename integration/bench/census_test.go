package main

import (
	"slices"
	"testing"
)

func TestLeaksAreWhatThereIsMoreOf(t *testing.T) {
	before := census{"mounts": 3, "processes": 0, "descriptors": 14}
	if got := more(census{"mounts": 3, "processes": 0, "descriptors": 13}, before); got != nil {
		t.Errorf("fewer than before: %v", got)
	}
	if got := more(census{ended: maxEnded}, census{ended: 0}); got != nil {
		t.Errorf("zombies that wait to be collected: %v", got)
	}
	if got := more(census{ended: maxEnded + 1}, census{ended: 0}); len(got) != 1 {
		t.Errorf("zombies that nobody collects: %v", got)
	}
	got := more(census{"mounts": 4, "processes": 2, "descriptors": 14}, before)
	if want := []string{"mounts: 3 before, 4 after", "processes: 0 before, 2 after"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

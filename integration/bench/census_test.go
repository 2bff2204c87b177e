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
	got := more(census{"mounts": 4, "processes": 2, "descriptors": 14}, before)
	if want := []string{"mounts: 3 before, 4 after", "processes: 0 before, 2 after"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

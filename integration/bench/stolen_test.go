package main

import (
	"testing"
	"time"
)

func TestStolenTimeIsKnownAndDoesNotGoBack(t *testing.T) {
	before, err := stolen()
	if err != nil {
		t.Fatal(err)
	}
	compute(1_000_000)
	after, err := stolen()
	if err != nil {
		t.Fatal(err)
	}
	if after < before {
		t.Errorf("%v had been stolen, and then %v", before, after)
	}
}

func TestRowTellsTheCallsThatTheHostHeldUp(t *testing.T) {
	c := &cell{contender: &contender{name: "it"}, callers: 1, rounds: [][]float64{{1, 2, 40}, {3, 30}},
		stolen: 50 * time.Millisecond, own: []float64{1, 2, 3}}
	row := c.row()
	if row.P99 != 40 || row.HeldUp != 2 || row.Stolen != 50 || row.OwnP99 != 3 {
		t.Errorf("%+v", row)
	}
	c = &cell{contender: &contender{name: "it"}, callers: 2, rounds: [][]float64{{1, 2}}}
	if row := c.row(); row.HeldUp != 0 || row.OwnP99 != 0 {
		t.Errorf("nobody asked the host, but: %+v", row)
	}
}

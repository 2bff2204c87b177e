package main

import (
	"strings"
	"testing"
	"time"
)

// As perf 6 writes it: processor 1 sleeps while processor 0 runs two programs.
const switches = ` [000]  100.000000000:     sched:sched_switch: prev_comm=swapper/0 prev_pid=0 prev_prio=120 prev_state=R ==> next_comm=a b: c next_pid=7 next_prio=120
 [001]  100.001000000:     sched:sched_switch: kworker/1:0:35 [120] I ==> swapper/1:0 [120]
 [000]  100.004000000:     sched:sched_switch: prev_comm=a b: c prev_pid=7 prev_prio=120 prev_state=S ==> next_comm=init next_pid=9 next_prio=120
 [000]  100.006000000:     sched:sched_switch: init:9 [120] S ==> swapper/0:0 [120]
 [001]  100.009000000:     sched:sched_switch: swapper/1:0 [120] R ==> init:9 [120]
 [000]  103.000000000:     sched:sched_switch: swapper/0:0 [120] R ==> init:9 [120]
`

func TestTurnsAreThoseOfTheCalls(t *testing.T) {
	at := func(ms int) time.Duration { return 100*time.Second + time.Duration(ms)*time.Millisecond }
	call := watchedCall{span: span{at(3), at(8)}}
	turns, err := readTurns(strings.NewReader(switches), []watchedCall{call, {span: span{at(9000), at(9001)}}})
	if err != nil {
		t.Fatal(err)
	}
	got := shares(turns, []watchedCall{call})
	want := tally{"a b: c": 1, "init": 2, "(idle)": 2 + 5}
	for name := range want {
		if diff := got[name] - want[name]; diff < -exact || diff > exact {
			t.Errorf("%s: %v ms, want %v (%v)", name, got[name], want[name], turns)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if _, err := readTurns(strings.NewReader("nonsense\n"), nil); err == nil {
		t.Error("nonsense was read")
	}
}

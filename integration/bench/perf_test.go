package main

import (
	"math"
	"strings"
	"testing"
)

const script = `swapper     0    1000000 
	ffffffff821f4dab pv_native_safe_halt

exe  4711    2000000 
	ffffffff81442bda copy_page
	          8ab744 runtime.doInit
	          8ab755 github.com/creel-sandbox/creel/runner/posture.Read
	          8ab744 github.com/creel-sandbox/creel/runner/posture.Read
	          8ab766 github.com/creel-sandbox/creel/runner/supervisor.(*Supervisor).launch

runc:[2:INIT]  4800    500000 
	           14f38 intel_check_word.constprop.0
	      1040000000 [unknown]

editor  4900    250000 
	           14f38 redraw
`

func TestSamplesAreAddedUpByProgramAndFunction(t *testing.T) {
	s := readSamples(script, 4711)
	for _, c := range []struct {
		sums tally
		name string
		want float64
	}{
		{s.programs, "(idle)", 1}, {s.programs, "creeld", 2}, {s.programs, "runc:[2:INIT]", 0.5}, {s.programs, "(other programs)", 0.25},
		{s.innermost, "runc:[2:INIT]: intel_check_word.constprop.0", 0.5},
		{s.creeld, "runner/posture.Read", 2}, {s.creeld, "runner/supervisor.(*Supervisor).launch", 2},
	} {
		if got := c.sums[c.name]; math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %g ms, want %g", c.name, got, c.want)
		}
	}
	if len(s.programs) != 4 || len(s.innermost) != 1 || len(s.creeld) != 2 {
		t.Errorf("more than there is: %v", s)
	}
}

const summary = `
 Summary of events:

 crun (100), 58 events, 90.6%

   syscall            calls  errors  total       min       avg       max       stddev
                                     (msec)    (msec)    (msec)    (msec)        (%)
   --------------- --------  ------ -------- --------- --------- ---------     ------
   umount2                2      0     4.000     0.020     0.024     0.033      6.37%
   read                   8      0    99.143     0.021     0.024     0.042     10.49%

 crun (101), 8 events, 0.6%

   umount2                2      1     2.000     0.020     0.024     0.033      6.37%

 editor (102), 8 events, 0.6%

   umount2                9      1     9.000     0.020     0.024     0.033      6.37%
`

func TestCallsAreAddedUpByProgram(t *testing.T) {
	got := callTable(summary, 2)
	if want := "| crun: umount2 | 2.0 | 3.000 | 1500.0 |"; !strings.Contains(got, want) {
		t.Errorf("no %q in\n%s", want, got)
	}
	if want := "| crun | 1.0 |"; !strings.Contains(got, want) { // two threads, two commands
		t.Errorf("no %q in\n%s", want, got)
	}
	for _, not := range []string{": read", "editor"} {
		if strings.Contains(got, not) {
			t.Errorf("%q in\n%s", not, got)
		}
	}
}

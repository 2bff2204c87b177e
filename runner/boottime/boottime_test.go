package boottime

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

func TestAlarmTellsWhenItsMomentHasComeAndNotBefore(t *testing.T) {
	at := Now().Add(50 * time.Millisecond)
	alarm, err := NewAlarm(at)
	if err != nil {
		t.Fatal(err)
	}
	defer alarm.Stop()
	<-alarm.C
	if !at.Over() || at.Until() > 0 {
		t.Errorf("it told %v too early", at.Until())
	}
	past, err := NewAlarm(Now().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	defer past.Stop()
	<-past.C
}

func TestAlarmThatIsStoppedOrOfNoMomentNeverTells(t *testing.T) {
	for name, at := range map[string]Instant{"stopped": Now().Add(time.Hour), "of no moment": 0} {
		alarm, err := NewAlarm(at)
		if err != nil {
			t.Fatal(err)
		}
		alarm.Stop()
		alarm.Stop()
		select {
		case <-alarm.C:
			t.Errorf("%s: it told", name)
		default:
		}
	}
	if Instant(0).Over() {
		t.Error("no moment has come")
	}
}

// TestAlarmCountsTheMachinesSleep asks the kernel which clock a timer follows:
// 7 is CLOCK_BOOTTIME (proc_pid_fdinfo(5), time.h).
func TestAlarmCountsTheMachinesSleep(t *testing.T) {
	alarm, err := NewAlarm(Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	defer alarm.Stop()
	raw, err := alarm.file.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var info []byte
	if controlErr := raw.Control(func(fd uintptr) { info, err = os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd)) }); controlErr != nil || err != nil {
		t.Fatal(controlErr, err)
	}
	if !strings.Contains(string(info), "clockid: 7\n") {
		t.Errorf("the timer follows another clock:\n%s", info)
	}
}

func TestFirstIsTheEarlierAndNeverIsTheLatest(t *testing.T) {
	for _, c := range []struct{ a, b, want Instant }{{1, 2, 1}, {2, 1, 1}, {0, 2, 2}, {2, 0, 2}, {0, 0, 0}} {
		if got := First(c.a, c.b); got != c.want {
			t.Errorf("of %d and %d: %d", c.a, c.b, got)
		}
	}
}

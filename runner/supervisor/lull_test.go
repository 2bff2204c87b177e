package supervisor

import (
	"testing"
	"time"
)

// returned says whether wait has come back within the time given.
func returned(l *lull, within time.Duration) bool {
	done := make(chan struct{})
	go func() {
		l.wait()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-time.After(within):
		return false
	}
}

func TestWorkStandsBackWhileSomebodyWaits(t *testing.T) {
	l := newLull()
	if !returned(l, time.Second) {
		t.Fatal("control: with no command at all it waits")
	}
	leave := l.enter()
	other := l.enter()
	began := time.Now()
	done := make(chan time.Duration, 1)
	go func() {
		l.wait()
		done <- time.Since(began)
	}()
	leave()
	leave() // counts once
	select {
	case <-done:
		t.Fatal("it did not wait for the second command")
	case <-time.After(breath):
	}
	other()
	if took := <-done; took < breath {
		t.Errorf("it came back after %v, before the caller had its answer", took)
	}
	if l.young != 0 {
		t.Errorf("%d commands are still counted", l.young)
	}
}

func TestCommandThatRunsOnIsNotWaitedFor(t *testing.T) {
	l := newLull()
	defer l.enter()()
	time.Sleep(young + breath)
	if !returned(l, time.Second) {
		t.Error("work waits for a command that runs")
	}
	if l.young != 0 {
		t.Errorf("%d commands count as young", l.young)
	}
}

func TestWorkIsDoneUnderCommandsWithoutEnd(t *testing.T) {
	l := newLull()
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for leave := l.enter(); ; {
			select {
			case <-stop:
				leave()
				return
			case <-time.After(time.Millisecond):
			}
			next := l.enter() // before the other leaves, so that there is no lull
			leave()
			leave = next
		}
	}()
	if !returned(l, 20*patience) {
		t.Error("work never gets its turn")
	}
	close(stop)
	<-stopped
}

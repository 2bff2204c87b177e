// Package boottime tells the time since the kernel booted, that of a machine's
// sleep included (CLOCK_BOOTTIME, clock_gettime(2)). It is for what somebody
// else's clock ends meanwhile: nobody can set it, and it does not stop while
// the machine sleeps, as the clock of Go's timers does (CLOCK_MONOTONIC).
//
// It imports the standard library and golang.org/x/sys only. It never reads
// the time of day.
package boottime

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Instant is a moment, in nanoseconds since the boot. The zero Instant stands
// for one that never comes.
type Instant int64

// Now is this moment, which is never zero.
func Now() Instant {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic(fmt.Sprintf("read CLOCK_BOOTTIME, which Linux has since 2.6.39: %v", err))
	}
	return Instant(max(1, ts.Nano()))
}

// Add is the moment d later.
func (i Instant) Add(d time.Duration) Instant { return i + Instant(d) }

// Until is how long it takes until i, less than zero once it is over. It has
// no meaning for the zero Instant.
func (i Instant) Until() time.Duration { return time.Duration(i - Now()) }

// Over says whether i has come; the zero Instant never does.
func (i Instant) Over() bool { return i != 0 && Now() >= i }

// First is the earlier of two.
func First(a, b Instant) Instant {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// Alarm tells when a moment has come.
type Alarm struct {
	// C is closed when it has.
	C    <-chan struct{}
	file *os.File
}

// NewAlarm sets an alarm. One for a moment that is over, or the zero Instant,
// tells at once, or never. It must be stopped.
func NewAlarm(at Instant) (*Alarm, error) {
	told := make(chan struct{})
	alarm := &Alarm{C: told}
	if at == 0 {
		return alarm, nil
	}
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make timer: %w", err)
	}
	alarm.file = os.NewFile(uintptr(fd), "alarm") // the runtime's poller waits for it
	value := unix.NsecToTimespec(int64(at))
	if err := unix.TimerfdSettime(fd, unix.TFD_TIMER_ABSTIME, &unix.ItimerSpec{Value: value}, nil); err != nil {
		_ = alarm.file.Close()
		return nil, fmt.Errorf("set timer: %w", err)
	}
	go func() {
		var count [8]byte // how often it has gone off (timerfd_create(2))
		if _, err := alarm.file.Read(count[:]); err == nil {
			close(told)
		}
	}()
	return alarm, nil
}

// Stop takes the alarm away. One that has not told by then never does.
func (a *Alarm) Stop() {
	if a != nil && a.file != nil {
		_ = a.file.Close()
	}
}

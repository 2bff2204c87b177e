package supervisor

import (
	"sync"
	"time"
)

// What nobody waits for, making sandboxes ahead, taking ended ones away and
// collecting garbage, costs as much as what somebody does wait for. So it stands back while a
// command is being started or has only just been, but not for long: a
// supervisor that always has commands must do its other work too.
const (
	// young is how long a command counts as one that somebody waits for. Most
	// commands of an agent are done by then; the others run for seconds.
	young = 20 * time.Millisecond
	// breath is the time without any young command that makes a lull. It lets
	// the caller take its answer first.
	breath = 2 * time.Millisecond
	// patience is how long work stands back at most.
	patience = 50 * time.Millisecond
)

// lull knows whether somebody waits for a command.
type lull struct {
	mu    sync.Mutex
	young int
	began chan struct{} // closed when a command comes; made when none is young
	ended chan struct{} // closed when none is young any more; nil while none is
}

func newLull() *lull { return &lull{began: make(chan struct{})} }

// enter counts a command as young until the returned function is called, or it
// is no longer so.
func (l *lull) enter() func() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.young == 0 {
		close(l.began)
		l.ended = make(chan struct{})
	}
	l.young++
	leave := sync.OnceFunc(l.leave)
	timer := time.AfterFunc(young, leave)
	return func() {
		timer.Stop()
		leave()
	}
}

func (l *lull) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.young--; l.young == 0 {
		close(l.ended)
		l.ended, l.began = nil, make(chan struct{})
	}
}

// wait returns when there is a lull, or after patience, and reports which.
func (l *lull) wait() bool {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		l.mu.Lock()
		began, ended := l.began, l.ended
		l.mu.Unlock()
		if ended != nil {
			select {
			case <-ended:
			case <-limit.C:
				return false
			}
			continue
		}
		select {
		case <-began:
		case <-time.After(breath):
			return true
		case <-limit.C:
			return false
		}
	}
}

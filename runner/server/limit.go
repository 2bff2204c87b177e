package server

import "sync"

// limiter counts what uids hold at once. No uid can have more than perUID,
// and the last reserve places are for privileged uids, so that no flood
// keeps an operator out.
type limiter struct {
	total, perUID, reserve int

	mu    sync.Mutex
	held  int
	byUID map[uint32]int
}

func newLimiter(total, perUID, reserve int) *limiter {
	return &limiter{total: total, perUID: perUID, reserve: reserve, byUID: map[uint32]int{}}
}

// acquire takes a place for uid, which release gives back.
func (l *limiter) acquire(uid uint32, privileged bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	total := l.total
	if !privileged {
		total -= l.reserve
	}
	if l.held >= total || l.byUID[uid] >= l.perUID {
		return false
	}
	l.held++
	l.byUID[uid]++
	return true
}

// spent says whether uid has all that it can, if it is not privileged.
func (l *limiter) spent(uid uint32) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byUID[uid] >= min(l.perUID, l.total-l.reserve)
}

func (l *limiter) release(uid uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held--
	if l.byUID[uid]--; l.byUID[uid] == 0 {
		delete(l.byUID, uid)
	}
}

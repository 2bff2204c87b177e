package server

import (
	"container/list"
	"maps"
	"slices"
	"sync"
)

// seats are the places that connections of one socket take. When all are taken,
// whoever has waited longest without asking for anything that it may have makes
// room: a share for each uid keeps nobody out who has many, as root of a
// container has, or whoever has subordinate ones (subuid(5)).
type seats struct {
	limiter *limiter
	own     func(sandbox string) bool // whose socket it is
	further string                    // its path; empty: one of the server's own

	mu      sync.Mutex
	taken   map[*call]struct{}
	idle    list.List // of *call, those to go first in front
	hangUps int       // so far
}

func (s *Server) newSeats(own func(sandbox string) bool) *seats {
	return &seats{own: own, taken: map[*call]struct{}{},
		limiter: newLimiter(s.options.MaxConns, s.options.MaxConnsPerUID, s.options.MaxConns/reservedConns)}
}

// nobody is whose socket it is that is no sandbox's.
func nobody(string) bool { return false }

// take gives a call a place, which leave gives back.
func (s *seats) take(c *call) bool {
	for !s.limiter.acquire(c.uid, c.privileged()) {
		if s.limiter.spent(c.uid) || !s.evict() {
			return false
		}
	}
	c.seats = s
	s.mu.Lock()
	s.taken[c] = struct{}{}
	s.mu.Unlock()
	s.rest(c, s.idle.PushBack)
	return true
}

// evict sends the first away of those that may be, if there is one.
func (s *seats) evict() bool {
	s.mu.Lock()
	first := s.idle.Front()
	if first == nil {
		s.mu.Unlock()
		return false
	}
	c := first.Value.(*call)
	s.forget(c)
	c.evicted = true
	s.mu.Unlock()
	s.limiter.release(c.uid)
	c.fail(errBusy(c.uid)) // the first message to it, so into an empty buffer
	c.conn.Close()
	return true
}

// rest says that a call has asked for nothing that it may have, and may be sent
// away for another. The privileged have places of their own.
func (s *seats) rest(c *call, put func(any) *list.Element) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.privileged() {
		c.idle = put(c)
	}
}

// work says that a call has something to do, and so keeps its place; false:
// it has lost it.
func (s *seats) work(c *call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(c)
	return !c.evicted
}

// forget needs the lock.
func (s *seats) forget(c *call) {
	if c.idle != nil {
		s.idle.Remove(c.idle)
		c.idle = nil
	}
}

// leave gives the place back that a call has, if it still has it.
func (s *seats) leave(c *call) {
	s.mu.Lock()
	delete(s.taken, c)
	s.mu.Unlock()
	if s.work(c) {
		s.limiter.release(c.uid)
	}
}

// hungUp counts the hangUps so far.
func (s *seats) hungUp() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hangUps
}

// hangUp closes the connections of all that have a place. Who is about to get one
// finds that hungUp says another number.
func (s *seats) hangUp() {
	s.mu.Lock()
	s.hangUps++
	all := slices.Collect(maps.Keys(s.taken))
	s.mu.Unlock()
	for _, c := range all {
		c.conn.Close()
	}
}

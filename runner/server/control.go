package server

import (
	"context"
	"sync"

	"github.com/creel-sandbox/creel/runner/api"
)

// maxPending is how many control messages may wait for a backend. More means
// a flood, and ends the connection: to wait instead would leave the end of
// the connection unread, and a caller that has gone unnoticed.
const maxPending = 128

func validSignal(n int) bool { return n >= 1 && n <= api.MaxSignal }

// controlQueue stands between a connection and a backend that may be busy.
// Most commands get no control message, and cost it nothing.
type controlQueue struct {
	in, out chan api.Control
	full    chan struct{}
	used    sync.Once
}

func newControlQueue() *controlQueue {
	return &controlQueue{in: make(chan api.Control), out: make(chan api.Control), full: make(chan struct{})}
}

// put takes one message of the client, whose connection ctx stands for.
func (q *controlQueue) put(ctx context.Context, control api.Control) error {
	if (control.Signal != 0) == (control.Resize != nil) {
		return api.BadRequest("", "a control message has either a signal or a size")
	}
	if control.Resize == nil && !validSignal(control.Signal) {
		return api.BadRequest("a signal's number is 1 to 64", "there is no signal %d", control.Signal)
	}
	q.used.Do(func() { go q.run(ctx) })
	select {
	case q.in <- control:
		return nil
	case <-q.full:
		return api.BadRequest("", "too many control messages at once")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// run hands messages on in order until ctx ends. Of sizes that follow each
// other only the last one matters.
func (q *controlQueue) run(ctx context.Context) {
	var pending []api.Control
	in := q.in
	for {
		var out chan api.Control
		var next api.Control
		if len(pending) > 0 {
			out, next = q.out, pending[0]
		}
		select {
		case out <- next:
			pending = pending[1:]
		case control := <-in:
			if last := len(pending) - 1; last >= 0 && control.Resize != nil && pending[last].Resize != nil {
				pending[last] = control
				continue
			}
			if pending = append(pending, control); len(pending) > maxPending {
				close(q.full)
				in = nil
			}
		case <-ctx.Done():
			return
		}
	}
}

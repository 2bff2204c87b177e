package client

import (
	"fmt"
	"io"
	"runtime/debug"
	"sync"
)

// tasks are the goroutines of one run, beside the one that receives. One that
// fails closes the connection, so that the receiver learns of it.
type tasks struct {
	failed, done chan struct{}

	conn     io.Closer
	once     sync.Once
	err      error
	panicked string
}

func newTasks(conn io.Closer) *tasks {
	return &tasks{conn: conn, failed: make(chan struct{}), done: make(chan struct{})}
}

func (t *tasks) run(f func() error) {
	go func() {
		defer func() {
			if p := recover(); p != nil {
				t.fail(nil, fmt.Sprintf("%v\n%s", p, debug.Stack()))
			}
		}()
		if err := f(); err != nil {
			t.fail(err, "")
		}
	}()
}

// fail records the first failure.
func (t *tasks) fail(err error, panicked string) {
	t.once.Do(func() {
		t.err, t.panicked = err, panicked
		close(t.failed)
		t.conn.Close()
	})
}

// failure is why a task failed, or nil. A panic is raised again here, where
// the run is waited for, so that the deferred calls of whoever waits there
// (which restore a terminal) happen.
func (t *tasks) failure() error {
	select {
	case <-t.failed:
	default:
		return nil
	}
	if t.panicked != "" {
		panic(t.panicked)
	}
	return t.err
}

// end releases the tasks that wait.
func (t *tasks) end() { close(t.done) }

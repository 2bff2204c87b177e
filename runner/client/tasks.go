package client

import (
	"fmt"
	"runtime/debug"
)

// tasks are the goroutines of one run. A panic in one of them is raised
// again where the run is waited for, so that the deferred calls of whoever
// waits there (which restore a terminal) happen.
type tasks struct {
	panics chan string
	done   chan struct{}
}

func newTasks() *tasks {
	return &tasks{panics: make(chan string, 1), done: make(chan struct{})}
}

func (t *tasks) run(f func()) {
	go func() {
		defer func() {
			if p := recover(); p != nil {
				select {
				case t.panics <- fmt.Sprintf("%v\n%s", p, debug.Stack()):
				case <-t.done:
				}
			}
		}()
		f()
	}()
}

// end releases the tasks that wait to report.
func (t *tasks) end() { close(t.done) }

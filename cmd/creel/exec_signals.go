package main

import (
	"context"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/cmd/internal/program"
	"github.com/creel-sandbox/creel/runner/api"
)

// forwarded are the signals a command gets when creel does. SIGABRT is among
// them because Go would end at once, with a raw terminal left behind.
var forwarded = []os.Signal{
	unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGABRT,
	unix.SIGUSR1, unix.SIGUSR2, unix.SIGCONT, unix.SIGWINCH,
}

// impatience is how many times SIGINT or SIGTERM must come for creel to stop
// waiting for a command that ignores them.
const impatience = 3

// startGrace is how long a signal waits for a command that may have started.
const startGrace = 200 * time.Millisecond

// forwarder passes creel's signals on to the command.
type forwarder struct {
	control   chan api.Control
	cancel    context.CancelCauseFunc
	tty       bool
	continued func() // on SIGCONT; may be nil

	signals chan os.Signal
	caught  chan struct{} // closed when no signal ends creel unseen any more
	done    chan struct{}
	running chan struct{} // closed when there is a command to signal
	asked   int
}

func newForwarder(cancel context.CancelCauseFunc, tty bool) *forwarder {
	return &forwarder{
		control: make(chan api.Control), cancel: cancel, tty: tty,
		signals: make(chan os.Signal, 64), caught: make(chan struct{}),
		done: make(chan struct{}), running: make(chan struct{}),
	}
}

// started says that there is a command to signal.
func (f *forwarder) started(string) { close(f.running) }

// catch begins to take signals. Package os/signal switches threads twice for
// each of them, so creel does this while the supervisor makes the command
// ready. A signal that comes earlier ends creel, and so the command.
func (f *forwarder) catch() {
	defer close(f.caught)
	for _, s := range forwarded {
		// One that is ignored stays so: nohup, or a shell's background job. A
		// size matters to a terminal alone.
		if !signal.Ignored(s) && (f.tty || s != unix.SIGWINCH) {
			signal.Notify(f.signals, s)
		}
	}
}

func (f *forwarder) start() {
	go func() {
		for {
			select {
			case s := <-f.signals:
				f.forward(s.(unix.Signal))
			case <-f.done:
				return
			}
		}
	}()
}

func (f *forwarder) wait() { <-f.caught }

func (f *forwarder) stop() {
	f.wait() // or release could come before the last is taken
	close(f.done)
}

// release lets signals end creel again, which could otherwise be stuck for
// good in words that nobody reads.
func release() { signal.Reset(forwarded...) }

func (f *forwarder) forward(s unix.Signal) {
	switch s {
	case unix.SIGWINCH:
		f.resize()
		return
	case unix.SIGCONT:
		if f.continued != nil {
			f.continued()
		}
		f.resize()
	case unix.SIGINT, unix.SIGTERM:
		f.asked++
	}
	if f.asked == impatience || s != unix.SIGCONT && !f.runs() {
		f.cancel(program.Exit(api.ExitSignal + int(s)))
		return
	}
	f.send(api.Control{Signal: int(s)})
}

// runs reports whether there is a command to signal. Its first output may
// come before the word that it runs, so that word is waited for a little.
func (f *forwarder) runs() bool {
	select {
	case <-f.running:
		return true
	case <-f.done:
		return true
	case <-time.After(startGrace):
		return false
	}
}

func (f *forwarder) resize() {
	if !f.tty {
		return
	}
	if size, err := terminalSize(unix.Stdout); err == nil {
		f.send(api.Control{Resize: size})
	}
}

func (f *forwarder) send(control api.Control) {
	select {
	case f.control <- control:
	case <-f.done:
	}
}

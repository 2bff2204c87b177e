package main

import (
	"context"
	"os"
	"os/signal"
	"sync/atomic"

	"golang.org/x/sys/unix"

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

// forwarder passes creel's signals on to the command.
type forwarder struct {
	control   chan api.Control
	cancel    context.CancelCauseFunc
	tty       bool
	continued func() // on SIGCONT; may be nil

	signals chan os.Signal
	done    chan struct{}
	running atomic.Bool
	asked   int
}

func newForwarder(cancel context.CancelCauseFunc, tty bool) *forwarder {
	f := &forwarder{
		control: make(chan api.Control), cancel: cancel, tty: tty,
		signals: make(chan os.Signal, 64), done: make(chan struct{}),
	}
	for _, s := range forwarded {
		// One that is ignored stays so: nohup, or a shell's background job.
		if !signal.Ignored(s) {
			signal.Notify(f.signals, s)
		}
	}
	return f
}

// started says that there is a command to signal.
func (f *forwarder) started(string) { f.running.Store(true) }

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

func (f *forwarder) stop() {
	signal.Stop(f.signals)
	close(f.done)
}

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
	if f.asked == impatience || !f.running.Load() && ends(s) {
		f.cancel(exitCode(api.ExitSignal + int(s)))
		return
	}
	f.send(api.Control{Signal: int(s)})
}

// ends reports whether a signal that nobody handles ends a process.
func ends(s unix.Signal) bool { return s != unix.SIGCONT }

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

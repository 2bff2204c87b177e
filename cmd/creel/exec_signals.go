package main

import (
	"context"
	"os"
	"os/signal"
	"time"

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

// startGrace is how long a signal waits for a command that may have started.
const startGrace = 200 * time.Millisecond

// forwarder passes creel's signals on to the command.
type forwarder struct {
	control   chan api.Control
	cancel    context.CancelCauseFunc
	tty       bool
	continued func() // on SIGCONT; may be nil

	signals chan os.Signal
	done    chan struct{}
	running chan struct{} // closed when there is a command to signal
	asked   int
}

func newForwarder(cancel context.CancelCauseFunc, tty bool) *forwarder {
	f := &forwarder{
		control: make(chan api.Control), cancel: cancel, tty: tty,
		signals: make(chan os.Signal, 64), done: make(chan struct{}), running: make(chan struct{}),
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
func (f *forwarder) started(string) { close(f.running) }

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
	if f.asked == impatience || s != unix.SIGCONT && !f.runs() {
		f.cancel(exitCode(api.ExitSignal + int(s)))
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

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/urfave/cli/v2"

	"github.com/creel-sandbox/creel/runner/host"
	"github.com/creel-sandbox/creel/runner/server"
	"github.com/creel-sandbox/creel/runner/supervisor"
)

const (
	configFlag = "config"
	debugFlag  = "debug"
	// enteredFlag says that the process is in its own mount namespace. It is
	// given by creeld to itself.
	enteredFlag = "in-own-mount-namespace"
	newKeyFlag  = "new-secrets-key"
)

var flags = []cli.Flag{
	&cli.PathFlag{Name: configFlag, Value: server.DefaultConfigPath, Usage: "configuration `FILE`"},
	&cli.BoolFlag{Name: debugFlag, Usage: "log more; never commands, environments or credentials"},
	&cli.BoolFlag{Name: enteredFlag, Hidden: true},
	&cli.BoolFlag{Name: newKeyFlag, Usage: "print a new key for the store of secrets, into a file or a pipe, and exit"},
}

// stopTimeout bounds how long a stop waits for callers to be told.
const stopTimeout = 5 * time.Second

func run(c *cli.Context) error {
	if c.NArg() > 0 {
		return fmt.Errorf("argument %q: creeld takes none", c.Args().First())
	}
	if c.Bool(newKeyFlag) {
		return printNewKey()
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("start: creeld needs root to make sandboxes")
	}
	if !c.Bool(enteredFlag) {
		return host.EnterMountNamespace(append(os.Args[:len(os.Args):len(os.Args)], "--"+enteredFlag))
	}
	if err := host.Harden(); err != nil {
		return err
	}
	log := newLog(c.Bool(debugFlag))
	d, err := assemble(c.Context, log, c.Path(configFlag))
	if err != nil {
		return err
	}
	defer d.close()
	return errors.Join(d.serve(), d.stop())
}

func newLog(debug bool) *logrus.Logger {
	log := logrus.New() // on standard error: systemd's journal, or the terminal
	log.SetFormatter(&logrus.TextFormatter{DisableColors: true, FullTimestamp: true})
	if debug {
		log.SetLevel(logrus.DebugLevel)
	}
	return log
}

// daemon is everything a running creeld holds.
type daemon struct {
	log        *logrus.Logger
	supervisor *supervisor.Supervisor
	server     *server.Server
	closers    []func() error    // in the order to undo
	reloads    chan chan<- error // those that serve is asked for, each to be told what came of it
	stopping   chan struct{}     // closed when serve has returned
}

func (d *daemon) onClose(f func() error) { d.closers = append([]func() error{f}, d.closers...) }

func (d *daemon) close() {
	for _, f := range d.closers {
		if err := f(); err != nil {
			d.log.WithError(err).Error("clean up")
		}
	}
}

// serve answers on the sockets until a signal asks to stop, or a socket fails.
func (d *daemon) serve() error {
	defer close(d.stopping)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	served := make(chan error, 1)
	go func() { served <- d.server.Serve() }()
	watch, stopWatch := watchdog(d.log)
	defer stopWatch()
	notify(d.log, stateReady)
	d.log.Info("ready")
	for {
		select {
		case s := <-signals:
			if s == syscall.SIGHUP {
				_ = d.reload() // the log has it
				continue
			}
			d.log.WithField("signal", s.String()).Info("stopping")
			return nil
		case done := <-d.reloads:
			done <- d.reload()
		case err := <-served:
			return fmt.Errorf("serve: %w", err)
		case <-watch:
			if d.supervisor.Healthy() {
				notify(d.log, stateAlive)
			}
		}
	}
}

// stop ends every sandbox first, so that callers are told the reason before
// their connections close.
func (d *daemon) stop() error {
	notify(d.log, stateStopping)
	err := d.supervisor.Close()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return errors.Join(err, d.server.Close(ctx))
}

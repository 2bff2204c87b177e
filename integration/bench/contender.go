package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// contender is one way to run a command.
type contender struct {
	name string
	// once runs `busybox true` from its start to its end.
	once func(context.Context) error
	// paced contenders are called once by each caller each time that all is
	// still, the others again and again.
	paced bool
	// warm is the supervisor from whose pool it takes its sandboxes, if any.
	warm *creel
	// burst contenders are called, each time, until the pool may be empty.
	burst bool
	// sustained contenders have a row of commands per second.
	sustained bool
	// missing says why it cannot be measured.
	missing string
	// hung is the smallest number of callers with which a call did not end; 0:
	// none has.
	hung int
	// mend takes away what calls that hung have left, where there is such.
	mend func(context.Context) error
}

// add adds a contender, if it is to be measured.
func (b *bench) add(c contender) {
	if !b.pattern.MatchString(c.name) {
		return
	}
	if c.missing == "" {
		c.once = within(b.longest, c.once)
	}
	b.contenders = append(b.contenders, &c)
}

// errHung is the end of a call that does not end by itself: a Docker daemon
// that is asked by many at once can be stuck for good.
var errHung = errors.New("it hung")

func within(longest time.Duration, once func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeoutCause(ctx, longest, errHung)
		defer cancel()
		err := once(ctx)
		if err != nil && context.Cause(ctx) == errHung {
			err = fmt.Errorf("%w, for %v: %w", errHung, longest, err)
		}
		return err
	}
}

// findBusybox gives the path that it has in a sandbox with the host's root.
func findBusybox() (string, error) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return "", fmt.Errorf("find busybox: %w (apt-get install busybox-static)", err)
	}
	return filepath.EvalSymlinks(path)
}

// start runs a program to its end as cheaply as a program can be started in
// Go: one clone(CLONE_VFORK), one execve, one wait.
func (b *bench) start(ctx context.Context, argv, env []string) error {
	process, err := os.StartProcess(argv[0], argv, &os.ProcAttr{Env: env, Files: []*os.File{b.null, b.null, b.complain}})
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = process.Kill() })()
	state, err := process.Wait()
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%s: was not done: %w", argv[0], ctx.Err())
	}
	if !state.Success() {
		return fmt.Errorf("%s: %v: %s", argv[0], state, b.complaint())
	}
	return nil
}

// complaint is the last line that anybody wrote to standard error.
func (b *bench) complaint() string {
	data, err := os.ReadFile(b.complain.Name())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return lines[len(lines)-1]
}

// program is a contender that is an argv. Its first word is looked up now.
func (b *bench) program(name string, sustained bool, env []string, argv ...string) contender {
	c := contender{name: name, sustained: sustained}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		c.missing = err.Error()
		return c
	}
	argv[0] = path
	c.once = func(ctx context.Context) error { return b.start(ctx, argv, env) }
	return c
}

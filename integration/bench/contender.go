package main

import (
	"context"
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
	// warm is the pool that it takes its sandboxes from, if any.
	warm *pool
	// burst contenders call until the pool may be empty, the others once each
	// time that it is full.
	burst bool
	// sustained contenders have a row of commands per second.
	sustained bool
	// missing says why it cannot be measured.
	missing string
}

func (b *bench) add(c contender) { b.contenders = append(b.contenders, &c) }

// findBusybox gives the path that it has in a sandbox with the host's root.
func findBusybox() (string, error) {
	path, err := exec.LookPath("busybox")
	if err != nil {
		return "", fmt.Errorf("find busybox: %w (apt-get install busybox-static)", err)
	}
	return filepath.EvalSymlinks(path)
}

// longest is how long one run of a program may take: a Docker daemon that is
// asked by many at once can be stuck for good.
const longest = time.Minute

// start runs a program to its end as cheaply as a program can be started in
// Go: one clone(CLONE_VFORK), one execve, one wait.
func (b *bench) start(ctx context.Context, argv, env []string) error {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
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

package main

import (
	"fmt"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/creel-sandbox/creel/runner/api"
)

// defaultTerm is what a terminal is taken for that does not say.
const defaultTerm = "xterm"

// addTerminal completes a request for a terminal, and refuses it where creel
// has none itself to show it on.
func addTerminal(request *api.ExecRequest) error {
	for _, stream := range []struct {
		name string
		fd   int
	}{{"stdin", unix.Stdin}, {"stdout", unix.Stdout}} {
		if !term.IsTerminal(stream.fd) {
			return &api.Error{
				Code:     api.CodeBadRequest,
				Message:  fmt.Sprintf("-t needs a terminal, and %s is none", stream.name),
				Hint:     "leave out -t where creel is run by a script or its streams are redirected",
				ExitCode: api.ExitFailed,
			}
		}
	}
	size, err := terminalSize(unix.Stdout)
	if err != nil {
		return err
	}
	request.Rows, request.Cols = size.Rows, size.Cols
	for _, variable := range request.Env {
		if strings.HasPrefix(string(variable), "TERM=") {
			return nil
		}
	}
	name := os.Getenv("TERM")
	if name == "" {
		name = defaultTerm
	}
	request.Env = append(request.Env, []byte("TERM="+name))
	return nil
}

func terminalSize(fd int) (*api.Resize, error) {
	size, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
	if err != nil {
		return nil, fmt.Errorf("read terminal size: %w", err)
	}
	return &api.Resize{Rows: size.Row, Cols: size.Col}, nil
}

// rawTerminal is a terminal that passes every key on as it is.
type rawTerminal struct {
	fd int

	mu       sync.Mutex
	before   *term.State
	restored bool
}

func makeRaw(fd int) (*rawTerminal, error) {
	before, err := term.MakeRaw(fd)
	if err != nil {
		return nil, fmt.Errorf("make terminal raw: %w", err)
	}
	return &rawTerminal{fd: fd, before: before}, nil
}

// restore makes the terminal what it was. A terminal that is gone (SIGHUP)
// has no state to restore.
func (r *rawTerminal) restore() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.restored = true
	term.Restore(r.fd, r.before)
}

// again makes it raw after creel was stopped and continued: the shell has
// used the terminal meanwhile.
func (r *rawTerminal) again() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.restored {
		term.MakeRaw(r.fd)
	}
}

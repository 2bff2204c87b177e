package servertest

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/creack/pty"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/server"
)

// start starts the command on the caller's pipes, or on a terminal between
// them. The function it returns resizes the terminal, or with nil waits for
// its output to drain and closes what is left.
func start(req *api.ExecRequest, stdio server.Stdio) (*exec.Cmd, func(*api.Resize), error) {
	defer stdio.Err.Close()
	path, err := lookPath(string(req.Argv[0]), req.Env)
	if err != nil {
		stdio.In.Close()
		stdio.Out.Close()
		return nil, nil, err
	}
	command := &exec.Cmd{Path: path, Dir: req.Cwd, Env: []string{}}
	for _, word := range req.Argv {
		command.Args = append(command.Args, string(word))
	}
	for _, variable := range req.Env {
		command.Env = append(command.Env, string(variable))
	}
	if req.TTY {
		return startTTY(command, req, stdio)
	}
	defer stdio.In.Close()
	defer stdio.Out.Close()
	command.Stdin, command.Stdout, command.Stderr = stdio.In, stdio.Out, stdio.Err
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return command, func(*api.Resize) {}, command.Start()
}

func startTTY(command *exec.Cmd, req *api.ExecRequest, stdio server.Stdio) (*exec.Cmd, func(*api.Resize), error) {
	terminal, err := pty.StartWithSize(command, &pty.Winsize{Rows: req.Rows, Cols: req.Cols})
	if err != nil {
		stdio.In.Close()
		stdio.Out.Close()
		return nil, nil, err
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		defer stdio.Out.Close()
		io.Copy(stdio.Out, terminal)
	}()
	go func() {
		defer stdio.In.Close()
		io.Copy(terminal, stdio.In)
	}()
	var use sync.Mutex // a size can come while the command ends
	return command, func(size *api.Resize) {
		if size != nil {
			use.Lock()
			defer use.Unlock()
			pty.Setsize(terminal, &pty.Winsize{Rows: size.Rows, Cols: size.Cols})
			return
		}
		<-drained
		use.Lock()
		defer use.Unlock()
		terminal.Close()
	}, nil
}

// lookPath finds a command in the PATH of its own environment.
func lookPath(name string, env [][]byte) (string, error) {
	if strings.Contains(name, "/") {
		_, err := os.Stat(name)
		return name, err
	}
	path := "/usr/local/bin:/usr/bin:/bin"
	for _, variable := range env {
		if value, ok := strings.CutPrefix(string(variable), "PATH="); ok {
			path = value
		}
	}
	for _, dir := range filepath.SplitList(path) {
		candidate := filepath.Join(dir, name)
		if _, err := os.Stat(candidate); err == nil {
			return candidate, nil
		}
	}
	return "", exec.ErrNotFound
}

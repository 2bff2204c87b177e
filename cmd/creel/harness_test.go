package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/runner/server"
	"github.com/creel-sandbox/creel/runner/server/servertest"
)

// binary is creel as the Makefile builds it: what is tested is what runs.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "creel-binary-")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "creel")
	if err := os.Chmod(dir, 0o755); err != nil {
		panic(err)
	}
	build := exec.Command("go", "build", "-tags", "urfave_cli_no_docs", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build creel: %v\n%s", err, out)
		os.RemoveAll(dir)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// rig is a supervisor that runs commands on the host, and creels of it.
type rig struct {
	host    *servertest.Host
	server  *server.Server
	sockets servertest.Sockets
	env     []string // of creel
}

// offline is a creel without any supervisor.
var offline = &rig{env: []string{"CREEL_SOCKET=/nonexistent", "CREEL_ADMIN_SOCKET=/nonexistent"}}

func newRig(t testing.TB) *rig {
	t.Helper()
	host := &servertest.Host{Causes: make(chan error, 64)}
	return rigOf(t, host, host)
}

func rigOf(t testing.TB, host *servertest.Host, backend server.Backend) *rig {
	t.Helper()
	s, sockets := servertest.Serve(t, server.Options{Backend: backend})
	return &rig{host: host, server: s, sockets: sockets, env: []string{
		"PATH=/usr/local/bin:/usr/bin:/bin", "TERM=vt100", "HOME=/", "CREEL_SOCKET=" + sockets.Exec, "CREEL_ADMIN_SOCKET=" + sockets.Admin,
	}}
}

// patience is far longer than any creel here takes. One that hangs fails its
// own test then, and not all of them when their time is up.
const patience = time.Minute

// command prepares a creel, with no stdin.
func (r *rig) command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	command := exec.CommandContext(ctx, binary, args...)
	command.Env = r.env
	return command
}

// ran is how a creel ended.
type ran struct {
	stdout, stderr string
	code           int
}

func (r *rig) run(t testing.TB, args ...string) ran {
	t.Helper()
	return end(t, r.command(t, args...))
}

// sh runs a script in a shell that finds creel in its PATH.
func (r *rig) sh(t testing.TB, script string) ran {
	t.Helper()
	command := exec.CommandContext(t.Context(), "/bin/bash", "-c", script)
	command.Env = append([]string{}, r.env...)
	command.Env[0] = "PATH=" + filepath.Dir(binary) + ":/usr/bin:/bin"
	command.Dir = t.TempDir()
	return end(t, command)
}

func end(t testing.TB, command *exec.Cmd) ran {
	t.Helper()
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return ran{stdout.String(), stderr.String(), command.ProcessState.ExitCode()}
}

// want checks a creel's exit code and that its messages hold some words. No
// words means that there is no message.
func (r ran) want(t testing.TB, code int, words ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d; stderr:\n%s", r.code, code, r.stderr)
	}
	if len(words) == 0 && r.stderr != "" {
		t.Errorf("unexpected messages:\n%s", r.stderr)
	}
	for _, word := range words {
		if !strings.Contains(r.stderr, word) {
			t.Errorf("messages:\n%swant %q there", r.stderr, word)
		}
	}
}

// running starts a creel whose command has written its first line, which is
// dropped, and returns the rest of its stdout.
func (r *rig) running(t testing.TB, args ...string) (*exec.Cmd, io.ReadCloser) {
	t.Helper()
	command := r.command(t, args...)
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { command.Process.Kill(); command.Wait() })
	readLine(t, stdout)
	return command, stdout
}

// readLine reads one line without reading further.
func readLine(t testing.TB, from io.Reader) string {
	t.Helper()
	var line []byte
	for !bytes.HasSuffix(line, []byte("\n")) {
		var one [1]byte
		if _, err := from.Read(one[:]); err != nil {
			t.Fatalf("read line: %v after %q", err, line)
		}
		line = append(line, one[0])
	}
	return string(line)
}

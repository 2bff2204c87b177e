package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/server"
	"github.com/creel-sandbox/creel/runner/server/servertest"
)

func TestSignalsReachTheCommand(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"INT", "TERM", "HUP", "QUIT", "ABRT", "USR1", "USR2", "CONT"} {
		t.Run(name, func(t *testing.T) {
			script := fmt.Sprintf("trap 'echo got; exit 42' %s; echo; while :; do sleep 0.05; done", name)
			command, stdout := r.running(t, "exec", "--", "sh", "-c", script)
			if err := command.Process.Signal(unix.SignalNum("SIG" + name)); err != nil {
				t.Fatal(err)
			}
			if rest, err := io.ReadAll(stdout); err != nil || string(rest) != "got\n" {
				t.Errorf("stdout %q, %v", rest, err)
			}
			command.Wait()
			if code := command.ProcessState.ExitCode(); code != 42 {
				t.Errorf("exit code %d, want 42", code)
			}
		})
	}
}

// TestCommandDiesWithTheParentWhereAsked kills a shell that waits for creel. A
// command that is not asked to die with it goes on to its own end.
func TestCommandDiesWithTheParentWhereAsked(t *testing.T) {
	for _, test := range []struct {
		flag, then string // what the command does when its input has ended, as it does with creel
		cause      error
	}{
		{"--die-with-parent", "exec sleep 1000", server.ErrCallerGone},
		{"", "exit", nil},
	} {
		r := newRig(t)
		parent := exec.CommandContext(t.Context(), "/bin/sh", "-c", fmt.Sprintf("%s exec -i %s -- sh -c 'echo; cat; %s'; exit", binary, test.flag, test.then))
		parent.Env = r.env
		stdin, err := parent.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := parent.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := parent.Start(); err != nil {
			t.Fatal(err)
		}
		readLine(t, stdout)
		if err := parent.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if test.cause == nil {
			stdin.Close() // and so cat ends
		}
		if got := <-r.host.Causes; got != test.cause {
			t.Errorf("with %q: cause %v, want %v", test.flag, got, test.cause)
		}
		stdin.Close()
		parent.Wait()
	}
}

// TestCommandWhoseParentIsGoneIsNotStarted has creel begin when the shell that
// reads it has ended: nobody would ever end its command.
func TestCommandWhoseParentIsGoneIsNotStarted(t *testing.T) {
	for flag, runs := range map[string]bool{"--die-with-parent": false, "": true} {
		r := newRig(t)
		made := filepath.Join(t.TempDir(), "made")
		const script = `exec 4< <(while kill -0 $$ 2>/dev/null; do :; done; exec %s exec %s -- touch %s 2>&3); exit`
		parent := exec.CommandContext(t.Context(), "/bin/bash", "-c", fmt.Sprintf(script, binary, flag, made))
		parent.Env = r.env
		messages, theirs, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer messages.Close()
		parent.ExtraFiles = []*os.File{theirs}
		if err := parent.Run(); err != nil {
			t.Fatal(err)
		}
		theirs.Close()
		told, err := io.ReadAll(messages) // to the end of creel
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(made); runs != (err == nil) || runs == strings.Contains(string(told), "whoever started creel has ended") {
			t.Errorf("with %q: %v, and creel says %q", flag, err, told)
		}
	}
}

func TestThirdRequestToEndIsNotRefused(t *testing.T) {
	r := newRig(t)
	command, stdout := r.running(t, "exec", "--", "sh", "-c", "trap 'echo no' INT; echo; while :; do sleep 0.05; done")
	for range 2 {
		if err := command.Process.Signal(unix.SIGINT); err != nil {
			t.Fatal(err)
		}
		if line := readLine(t, stdout); line != "no\n" {
			t.Fatalf("line %q", line)
		}
	}
	if err := command.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	command.Wait()
	if code := command.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
	if cause := <-r.host.Causes; cause != server.ErrCallerGone {
		t.Errorf("cause %v, want ErrCallerGone", cause)
	}
}

func TestIgnoredSignalStaysIgnored(t *testing.T) {
	r := newRig(t)
	command := r.command(t)
	command.Path, command.Args = "/bin/sh", []string{"sh", "-c",
		"trap '' HUP; exec " + binary + ` exec -i -- sh -c 'trap "echo hup" HUP; trap "echo usr1; exit 42" USR1; echo; while :; do sleep 0.05; done'`}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	readLine(t, stdout)
	for _, s := range []unix.Signal{unix.SIGHUP, unix.SIGUSR1} { // the second shows that the first had its time
		if err := command.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	if rest, _ := io.ReadAll(stdout); string(rest) != "usr1\n" {
		t.Errorf("stdout %q, want usr1 alone", rest)
	}
	command.Wait()
}

// launching is a backend whose commands never start.
type launching struct {
	servertest.Host
	asked, cause chan error
}

func (l *launching) Exec(ctx context.Context, _ server.Peer, _ *api.ExecRequest, stdio server.Stdio, _ <-chan api.Control, _ func(string)) (*api.Result, error) {
	defer stdio.Close()
	l.asked <- nil
	<-ctx.Done()
	l.cause <- context.Cause(ctx)
	return nil, context.Cause(ctx)
}

// TestSignalBeforeTheCommandRunsEndsCreel ends creel by the signal itself or
// by what creel makes of it, as its handlers are there or not yet. A shell
// sees no difference.
func TestSignalBeforeTheCommandRunsEndsCreel(t *testing.T) {
	backend := &launching{asked: make(chan error, 1), cause: make(chan error, 1)}
	r := rigOf(t, &backend.Host, backend)
	command := r.command(t, "exec", "--", "true")
	var stderr strings.Builder
	command.Stderr = &stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	<-backend.asked
	if err := command.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	command.Wait()
	status := command.ProcessState.Sys().(syscall.WaitStatus)
	code := status.ExitStatus()
	if status.Signaled() {
		code = 128 + int(status.Signal())
	}
	if code != 143 || stderr.String() != "" {
		t.Errorf("exit code %d, want 143; stderr %q", code, &stderr)
	}
	if cause := <-backend.cause; cause != server.ErrCallerGone {
		t.Errorf("cause %v, want ErrCallerGone", cause)
	}
}

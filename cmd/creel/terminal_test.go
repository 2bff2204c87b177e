package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/server/servertest"
)

// onTerminal is a creel that runs on a terminal of the test's.
type onTerminal struct {
	command       *exec.Cmd
	master, slave *os.File
	before        unix.Termios
}

func (r *rig) onTerminal(t *testing.T, args ...string) *onTerminal {
	t.Helper()
	return r.program(t, binary, args...)
}

// program starts any program in the place of creel.
func (r *rig) program(t *testing.T, path string, args ...string) *onTerminal {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	if err := pty.Setsize(master, &pty.Winsize{Rows: 33, Cols: 77}); err != nil {
		t.Fatal(err)
	}
	o := &onTerminal{command: exec.CommandContext(t.Context(), path, args...), master: master, slave: slave}
	o.command.Env = r.env
	o.before = o.state(t)
	o.command.Stdin, o.command.Stdout, o.command.Stderr = slave, slave, slave
	o.command.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	if err := o.command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		o.command.Process.Kill()
		o.command.Wait()
		slave.Close()
		master.Close()
	})
	return o
}

func (o *onTerminal) state(t *testing.T) unix.Termios {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(o.slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *state
}

// until reads from the terminal until text came.
func (o *onTerminal) until(t *testing.T, text string) string {
	t.Helper()
	// Package pty leaves the master blocking, and then no deadline holds.
	if err := errors.Join(unix.SetNonblock(int(o.master.Fd()), true), o.master.SetReadDeadline(time.Now().Add(20*time.Second))); err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	for !strings.Contains(got.String(), text) {
		if _, err := io.CopyN(&got, o.master, 1); err != nil {
			t.Fatalf("%v after %q, want %q", err, &got, text)
		}
	}
	return got.String()
}

func (o *onTerminal) isRaw(t *testing.T) bool {
	state := o.state(t)
	return state.Lflag&(unix.ICANON|unix.ECHO|unix.ISIG) == 0
}

// ends waits for creel and checks that its terminal is what it was.
func (o *onTerminal) ends(t *testing.T, code int) {
	t.Helper()
	o.command.Wait()
	if got := o.command.ProcessState.ExitCode(); got != code {
		t.Errorf("exit code %d, want %d", got, code)
	}
	if after := o.state(t); after != o.before {
		t.Errorf("the terminal was left as %+v, not %+v", after, o.before)
	}
}

func TestTerminalIsMadeInsideAndRestoredOutside(t *testing.T) {
	r := newRig(t)
	o := r.onTerminal(t, "exec", "-it", "--", "sh", "-c", `stty size; echo "TERM=$TERM"; tty; echo ready; cat; exit 7`)
	got := o.until(t, "ready\r\n")
	if !strings.Contains(got, "33 77\r\n") || !strings.Contains(got, "TERM=vt100\r\n") || !strings.Contains(got, "/dev/pts/") {
		t.Errorf("the terminal inside says %q", got)
	}
	if strings.Contains(got, o.slave.Name()+"\r") {
		t.Errorf("the command has creel's own terminal: %q", got)
	}
	if !o.isRaw(t) {
		t.Error("creel's terminal is not raw: positive control of its restoration")
	}
	io.WriteString(o.master, "typed\r")
	o.until(t, "typed\r\ntyped\r\n") // the echo of the terminal inside, and cat's answer
	io.WriteString(o.master, "\x04")
	o.ends(t, 7)
}

func TestKeysOfATerminalReachTheCommandAsSignals(t *testing.T) {
	r := newRig(t)
	o := r.onTerminal(t, "exec", "-it", "--", "sh", "-c", `trap 'echo interrupted; exit 9' INT; echo ready; while :; do sleep 0.05; done`)
	o.until(t, "ready\r\n")
	io.WriteString(o.master, "\x03")
	o.until(t, "interrupted\r\n")
	o.ends(t, 9)
}

func TestNewTerminalSizeReachesTheCommand(t *testing.T) {
	r := newRig(t)
	o := r.onTerminal(t, "exec", "-it", "--", "sh", "-c", `trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done`)
	o.until(t, "ready\r\n")
	if err := pty.Setsize(o.master, &pty.Winsize{Rows: 11, Cols: 22}); err != nil {
		t.Fatal(err)
	}
	o.until(t, "11 22\r\n")
	o.ends(t, 0)
}

func TestTerminalIsRestoredHoweverCreelEnds(t *testing.T) {
	for _, s := range []unix.Signal{unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGINT, unix.SIGABRT} {
		t.Run(unix.SignalName(s), func(t *testing.T) {
			o := newRig(t).onTerminal(t, "exec", "-it", "--", "sh", "-c", "echo ready; exec sleep 1000")
			o.until(t, "ready\r\n")
			if !o.isRaw(t) {
				t.Fatal("positive control: the terminal is not raw")
			}
			if err := o.command.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			o.ends(t, 128+int(s))
		})
	}
	t.Run("refused", func(t *testing.T) {
		newRig(t).onTerminal(t, "exec", "-it", "--policy", servertest.DeniedPolicy, "--", "true").ends(t, 125)
	})
	t.Run("no supervisor", func(t *testing.T) {
		r := newRig(t)
		r.env = append(r.env, "CREEL_SOCKET=/nonexistent")
		r.onTerminal(t, "exec", "-it", "--", "true").ends(t, 125)
	})
}

// Without -i nobody reads the keys, so the terminal must go on making
// signals of them.
func TestTerminalWithoutStdinCanBeInterrupted(t *testing.T) {
	o := newRig(t).onTerminal(t, "exec", "-t", "--", "sh", "-c", `trap 'echo interrupted; exit 9' INT; echo ready; while :; do sleep 0.05; done`)
	o.until(t, "ready")
	io.WriteString(o.master, "\x03")
	o.until(t, "interrupted")
	o.ends(t, 9)
}

func TestTerminalIsRefusedWhereThereIsNone(t *testing.T) {
	r := newRig(t)
	r.run(t, "exec", "-it", "--", "true").want(t, 125, "creel: error: -t needs a terminal, and stdin is none", "creel: hint: leave out -t")
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	defer slave.Close()
	command := r.command(t, "exec", "-t", "--", "true")
	command.Stdin = slave
	end(t, command).want(t, 125, "-t needs a terminal, and stdout is none")
}

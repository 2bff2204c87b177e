package main

import (
	"errors"
	"io"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/initproto"
)

// onTerminal makes a job run on a terminal of 24 by 80.
func onTerminal(job initproto.Job) initproto.Job {
	job.TTY, job.Rows, job.Cols = true, 24, 80
	return job
}

// Typed input is echoed and line ends are translated, so tests turn both off.
const quiet = "stty -echo -onlcr; "

func TestTerminalIsOneAndControls(t *testing.T) {
	for name, user := range map[string]bool{"same users": false, "user namespace": true} {
		t.Run(name, func(t *testing.T) {
			b := ready(t, engineOptions{user: user})
			must(t, b.start(onTerminal(script(
				"[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && echo terminal; tty; stty size; echo to-tty > /dev/tty; echo err >&2; id -u",
				"ps -o tty=,tpgid=,pgid=,sid= -p $$ | tr -s ' '"))))
			got := strings.ReplaceAll(b.finish("").stdout, "\r\n", "\n")
			if want := "terminal\n/dev/pts/0\n24 80\nto-tty\nerr\n54321\npts/0 "; !strings.HasPrefix(strings.ReplaceAll(got, "\n ", "\n"), want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
	if got := run(t, script("[ -t 0 ] || [ -t 1 ] || [ -t 2 ] || echo none"), "").stdout; got != "none\n" {
		t.Errorf("without a terminal: %q", got) // the control
	}
}

func TestResizeReachesTheCommand(t *testing.T) {
	b := ready(t, engineOptions{})
	must(t, b.start(onTerminal(probe("terminal-report"))))
	b.readUntil("size 24 80\r\n")
	must(t, b.Resize(50, 132))
	b.readUntil("size 50 132\r\n")
	must(t, b.Signal(int(unix.SIGKILL)))
	exit, err := b.Wait()
	must(t, err)
	if exit.Signal != 9 {
		t.Errorf("got %+v", exit)
	}
}

func TestResizeWithoutTerminalIsRefused(t *testing.T) {
	b := ready(t, engineOptions{})
	must(t, b.start(script("read line; exit 2")))
	if err := b.Resize(50, 132); !errors.Is(err, initproto.ErrOrder) {
		t.Errorf("got %v", err)
	}
	if got := b.finish("\n"); got.Code != 2 {
		t.Errorf("got %+v", got)
	}
}

// The end of the caller's pipe is typed as the end-of-file character, at the
// start of a line and inside one.
func TestEndOfInputReachesATerminalProgram(t *testing.T) {
	for _, input := range []string{"", "one\ntwo\n", "one\nhalf"} {
		b := ready(t, engineOptions{})
		must(t, b.start(onTerminal(script(quiet+"echo up; cat; echo end"))))
		b.readUntil("up\n")
		if got, want := b.finish(input).stdout, input+"end\n"; got != want {
			t.Errorf("%q: got %q, want %q", input, got, want)
		}
	}
}

func TestTerminalIsDrainedBeforeTheEnd(t *testing.T) {
	b := ready(t, engineOptions{})
	// A background process that holds the terminal must not hold up the end.
	must(t, b.start(onTerminal(script(quiet+
		"(trap '' HUP TERM; while :; do sleep 1000; done) & head -c 1048576 /dev/zero | tr '\\0' x; printf END; exit 8"))))
	got := b.finish("")
	if got.Code != 8 || len(got.stdout) != 1<<20+3 || !strings.HasSuffix(got.stdout, "xEND") {
		t.Errorf("got code %d and %d bytes, want 8 and %d", got.Code, len(got.stdout), 1<<20+3)
	}
}

func TestTerminalOutputOutlivesABrokenReader(t *testing.T) {
	b := ready(t, engineOptions{})
	must(t, b.start(onTerminal(script("head -c 300000 /dev/zero; exit 4"))))
	must(t, b.stdout.Close())
	exit, err := b.Wait()
	must(t, err)
	if exit.Code != 4 {
		t.Errorf("got %+v", exit)
	}
}

func TestTypedInterruptReachesTheForeground(t *testing.T) {
	b := ready(t, engineOptions{})
	must(t, b.start(onTerminal(script("trap 'echo caught; exit 9' INT; echo up; while :; do read line; done"))))
	b.readUntil("up\r\n")
	_, err := io.WriteString(b.stdin, "\x03")
	must(t, err)
	exit, err := b.Wait()
	must(t, err)
	if exit.Code != 9 {
		t.Errorf("got %+v", exit)
	}
}

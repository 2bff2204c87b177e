package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/creel-sandbox/creel/cmd/internal/program"
	"github.com/creel-sandbox/creel/runner/api"
)

// readSecret reads a value from the terminal, once before has agreed, or from
// standard input. What the supervisor would refuse by its length is refused
// here, before it is sent.
func readSecret(name string, before func() error) ([]byte, error) {
	read := pipedSecret
	if term.IsTerminal(unix.Stdin) {
		if err := before(); err != nil {
			return nil, err
		}
		read = func() ([]byte, error) { return typedSecret(name) }
	}
	value, err := read()
	if err == nil {
		err = checkSecret(value)
	}
	if err != nil {
		clear(value)
		return nil, err
	}
	return value, nil
}

func checkSecret(value []byte) error {
	hint := ""
	var err error
	switch {
	case len(value) == 0:
		err, hint = errors.New("the value is empty"), "nothing was changed"
	case len(value) < api.MinSecret:
		err, hint = fmt.Errorf("the value has %d bytes, and %d are the fewest", len(value), api.MinSecret), "a shorter one cannot be redacted in what commands print"
	case len(value) > api.MaxSecret:
		err, hint = fmt.Errorf("the value has more than %d bytes", api.MaxSecret), "keep it elsewhere, and keep what opens it here"
	case bytes.IndexByte(value, 0) >= 0:
		err, hint = errors.New("the value holds a NUL byte, which no environment variable can"), "encode it, such as with base64"
	default:
		return nil
	}
	return program.Hinted(err, hint)
}

// lockedBuffer is memory that is not swapped (mlock(2)), for as long as this
// process lives.
func lockedBuffer(size int) ([]byte, error) {
	buffer := make([]byte, size)
	if err := unix.Mlock(buffer); err != nil {
		return nil, program.Hinted(fmt.Errorf("lock memory for the value: %w", err), "run it as root, or allow more: ulimit -l 128")
	}
	return buffer, nil
}

// pipedSecret reads standard input to its end.
func pipedSecret() ([]byte, error) {
	buffer, err := lockedBuffer(api.MaxSecret + 2) // a newline, and one byte too many
	if err != nil {
		return nil, err
	}
	n := 0
	for n < len(buffer) {
		more, err := os.Stdin.Read(buffer[n:])
		n += more
		if err == io.EOF {
			break
		}
		if err != nil {
			clear(buffer)
			return nil, fmt.Errorf("read standard input: %w", err)
		}
	}
	return bytes.TrimSuffix(buffer[:n], []byte("\n")), nil
}

// maxTyped is the longest line that a terminal gives; it drops what is typed
// beyond it, without a word (N_TTY_BUF_SIZE, termios(3), canonical mode).
const maxTyped = 4095

var errTooLong = errors.New("the value is as long as a terminal's line can be, and may have been cut")

func typedSecret(name string) ([]byte, error) {
	first, err := typedLine("Value of " + name + ": ")
	if err != nil {
		return nil, err
	}
	second, err := typedLine("The same again: ")
	defer clear(second)
	switch {
	case err != nil:
	case len(first) >= maxTyped:
		err = program.Hinted(errTooLong, "give it on standard input")
	case !bytes.Equal(first, second):
		err = program.Hinted(errors.New("the two values differ"), "nothing was changed; a value of several lines comes on standard input")
	default:
		return first, nil
	}
	clear(first)
	return nil, err
}

// endings are the signals that end creel while it waits for a line, once the
// terminal shows again what is typed.
var endings = []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT}

// typedLine asks for one line without showing it. A stop (^Z) is ignored: the
// shell would make the terminal show it when creel goes on. It is not
// term.ReadPassword, which goes on after ^D, and for ever after a hangup.
func typedLine(prompt string) (_ []byte, err error) {
	line, err := lockedBuffer(maxTyped + 1)
	if err != nil {
		return nil, err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, endings...)
	defer signal.Stop(signals)
	signal.Ignore(unix.SIGTSTP)
	defer signal.Reset(unix.SIGTSTP)
	show, err := hideTyping(unix.Stdin)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, show()) }()
	fmt.Fprint(os.Stderr, prompt)
	defer fmt.Fprintln(os.Stderr) // in place of the one that was not shown
	type typed struct {
		n   int
		err error
	}
	done := make(chan typed, 1)
	go func() {
		n, err := os.Stdin.Read(line) // a line at once, in canonical mode
		done <- typed{n, err}
	}()
	select {
	case got := <-done:
		if got.err == io.EOF {
			return nil, program.Hinted(errors.New("there was no value"), "nothing was changed")
		}
		if got.err != nil {
			return nil, fmt.Errorf("read terminal: %w", got.err)
		}
		return bytes.TrimSuffix(line[:got.n], []byte("\n")), nil
	case s := <-signals:
		return nil, program.Exit(api.ExitSignal + int(s.(unix.Signal)))
	}
}

// hideTyping makes a terminal give whole lines that it does not show, until
// show is called (termios(3)).
func hideTyping(fd int) (show func() error, err error) {
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("read terminal's state: %w", err)
	}
	hidden := *before
	hidden.Lflag = hidden.Lflag&^unix.ECHO | unix.ICANON | unix.ISIG
	hidden.Iflag |= unix.ICRNL
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &hidden); err != nil {
		return nil, fmt.Errorf("hide what is typed: %w", err)
	}
	return func() error {
		if err := unix.IoctlSetTermios(fd, unix.TCSETS, before); err != nil {
			return fmt.Errorf("restore terminal: %w", err)
		}
		return nil
	}, nil
}

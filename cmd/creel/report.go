package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/client"
)

// exitCode ends creel with a code and without a word.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// report prints an error and returns the code to exit with.
func report(to io.Writer, err error) int {
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.Is(err, client.ErrStdoutClosed):
		return api.ExitSignal + int(unix.SIGPIPE) // as if it had killed creel
	}
	e := asAPIError(err)
	fmt.Fprintf(to, "creel: error: %s\n", printable(e.Message))
	for _, detail := range e.Details {
		fmt.Fprintf(to, "creel: error:   %s\n", printable(detail))
	}
	if e.Hint != "" {
		fmt.Fprintf(to, "creel: hint: %s\n", printable(e.Hint))
	}
	return e.ExitCode
}

// asAPIError is err in the form that --result writes and report prints.
func asAPIError(err error) *api.Error {
	var known *api.Error
	if !errors.As(err, &known) {
		known = &api.Error{Code: api.CodeInternal, Message: err.Error()}
	}
	whole := *known
	if whole.ExitCode == 0 {
		whole.ExitCode = api.ExitFailed
	}
	return &whole
}

// printable escapes what could move a terminal's cursor or begin a line of
// its own: a name in a message may come from inside a sandbox.
func printable(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsPrint(r) && r != unicode.ReplacementChar {
			b.WriteRune(r)
			continue
		}
		fmt.Fprintf(&b, "\\x%02x", r)
	}
	return b.String()
}

package program

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/creel-sandbox/creel/runner/api"
)

// Exit ends a program with a code and without a word.
type Exit int

func (e Exit) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// Findings is the code of what looked for problems and found some.
const Findings Exit = 1

// Hinted is an error in words of its own, with what to do about it. It is the
// user's to mend.
func Hinted(err error, hint string) error {
	return &api.Error{Code: api.CodeBadRequest, Message: err.Error(), Hint: hint}
}

// Report prints an error and returns the code to exit with: that of an Exit,
// the error's own, or otherwise.
func Report(to io.Writer, err error, otherwise int) int {
	var code Exit
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	e := Known(err, otherwise)
	fmt.Fprintf(to, "creel: error: %s\n", Printable(e.Message))
	for _, detail := range e.Details {
		fmt.Fprintf(to, "creel: error:   %s\n", Printable(detail))
	}
	if e.Hint != "" {
		fmt.Fprintf(to, "creel: hint: %s\n", Printable(e.Hint))
	}
	return e.ExitCode
}

// Known is err in the form that is printed and written as JSON, with an exit
// code: its own, or otherwise.
func Known(err error, otherwise int) *api.Error {
	var known *api.Error
	if !errors.As(err, &known) {
		known = &api.Error{Code: api.CodeInternal, Message: err.Error()}
	}
	whole := *known
	if whole.ExitCode == 0 {
		whole.ExitCode = otherwise
	}
	return &whole
}

// Printable escapes what could move a terminal's cursor or begin a line of
// its own: a name in a message may come from inside a sandbox, an archive or
// a registry.
func Printable(s string) string {
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

package program

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// ForTerminal gives what text of a sandbox is written to: where that is a
// terminal, one that obeys nothing in it. What a command printed could otherwise
// change the clipboard, the title or the lines above (CVE-2003-0063), or have
// the terminal type something (console_codes(4)).
func ForTerminal(to *os.File) io.Writer {
	if !term.IsTerminal(int(to.Fd())) {
		return to
	}
	return &visible{to: to}
}

// visible writes lines and tabs as they are, and every other character that
// prints nothing as an escape.
type visible struct {
	to   io.Writer
	rest []byte // the beginning of a character, or of the end of a line
}

// Write implements io.Writer.
func (v *visible) Write(p []byte) (int, error) {
	var out strings.Builder
	text := append(v.rest, p...)
	for utf8.FullRune(text) && string(text) != "\r" {
		r, size := utf8.DecodeRune(text)
		switch {
		case r == '\r' && text[1] == '\n': // as a terminal of a sandbox ends its lines
		case r == '\n', r == '\t', unicode.IsPrint(r) && (r != utf8.RuneError || size > 1):
			out.Write(text[:size])
		default:
			for _, b := range text[:size] {
				fmt.Fprintf(&out, `\x%02x`, b)
			}
		}
		text = text[size:]
	}
	v.rest = append([]byte(nil), text...)
	if _, err := io.WriteString(v.to, out.String()); err != nil {
		return 0, err
	}
	return len(p), nil
}

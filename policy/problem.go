package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// String is the form every compiler uses, so editors can jump to it:
// FILE:LINE:COL: error: key: message (hint: …). It is always one line: what
// it quotes from the file was quoted when the problem was made.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(strings.Map(oneLine, p.File) + ":")
		if p.Line > 0 {
			fmt.Fprintf(&b, "%d:%d:", p.Line, p.Column)
		}
		b.WriteString(" ")
	}
	fmt.Fprintf(&b, "%s: ", p.Severity)
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		fmt.Fprintf(&b, " (hint: %s)", p.Hint)
	}
	return b.String()
}

func oneLine(r rune) rune {
	if r == '\n' || r == '\t' || unseen(r) != "" {
		return '\uFFFD'
	}
	return r
}

// HasErrors reports whether any problem refuses the file.
func HasErrors(problems []Problem) bool {
	return slices.ContainsFunc(problems, func(p Problem) bool { return p.Severity == SeverityError })
}

// sortProblems orders problems as a reader meets them in the file.
func sortProblems(problems []Problem) {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(a.File, b.File),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Key, b.Key),
			cmp.Compare(a.Message, b.Message),
		)
	})
}

// fault is what is wrong with one value, before anyone knows where it stands.
type fault struct{ message, hint string }

func faultf(hint, format string, args ...any) *fault {
	return &fault{message: fmt.Sprintf(format, args...), hint: hint}
}

// quote shows text from a file on one line: escaped, so that it cannot forge
// a second problem or move a terminal's cursor, and cut to a bearable length.
func quote(text string) string {
	const most = 60
	if runes := []rune(text); len(runes) > most {
		return strconv.Quote(string(runes[:most])) + "…"
	}
	return strconv.Quote(text)
}

// join appends a key to a dotted path. A key that is not a plain word is
// quoted in brackets.
func join(path, key string) string {
	switch {
	case !isWord(key):
		return path + "[" + quote(key) + "]"
	case path == "":
		return key
	default:
		return path + "." + key
	}
}

func element(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// parent is the path a path was joined from.
func parent(path string) string {
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}

func isWord(key string) bool {
	for _, c := range []byte(key) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return key != ""
}

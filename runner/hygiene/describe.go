package hygiene

import (
	"fmt"
	"strconv"
	"strings"
)

// describe tells a finding to people, in one line: where it is, by which rule,
// and its fingerprint. Nothing that the search says of it is believed to be fit
// for a terminal. values says where the values under management are from.
func (f Finding) describe(values []string) string {
	var b strings.Builder
	if f.Object != "" {
		b.WriteString(printable(f.Repository) + ": ")
		switch {
		case f.Commit == "":
			fmt.Fprintf(&b, "object %s, which is in no commit", printable(f.Object))
		case f.Path == "":
			fmt.Fprintf(&b, "commit %s, its message", printable(f.Commit[:min(12, len(f.Commit))]))
		default:
			fmt.Fprintf(&b, "commit %s:%s", printable(f.Commit[:min(12, len(f.Commit))]), printable(f.Path))
		}
	} else {
		b.WriteString(printable(f.Path))
	}
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d", f.Line)
	}
	switch {
	case f.Rule != RuleManaged:
		fmt.Fprintf(&b, ": rule %s, fingerprint %s", printable(f.Rule), printable(f.Fingerprint))
	case f.Value >= 0 && f.Value < len(values):
		fmt.Fprintf(&b, ": the value of %s", values[f.Value])
	default:
		b.WriteString(": a value under management")
	}
	if f.Again > 0 {
		fmt.Fprintf(&b, ", and %d more times", f.Again)
	}
	return b.String()
}

// printable keeps a name that a sandbox chose from moving a terminal's cursor,
// and from ending the line.
func printable(s string) string {
	quoted := strconv.QuoteToGraphic(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

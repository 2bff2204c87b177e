package seccomp

import (
	"fmt"
	"strings"
)

// Problem is one thing wrong with a profile.
type Problem struct {
	Line    int    // from 1
	Key     string // such as syscalls[3].args[0].op
	Message string
}

// ProblemsError is every problem of one profile, in the order of the file.
type ProblemsError struct {
	Name     string
	Problems []Problem
}

// Error gives one line per problem, "NAME:LINE: KEY: MESSAGE".
func (e *ProblemsError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = fmt.Sprintf("%s:%d: %s: %s", e.Name, p.Line, p.Key, p.Message)
	}
	return strings.Join(lines, "\n")
}

// problems collects while reading goes on, so that all are reported at once.
type problems []Problem

func (p *problems) add(line int, key, format string, args ...any) {
	*p = append(*p, Problem{Line: line, Key: key, Message: fmt.Sprintf(format, args...)})
}

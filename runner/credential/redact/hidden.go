package redact

import (
	"fmt"
	"io"
)

// Format implements fmt.Formatter: what a Matcher holds spells the values.
func (Matcher) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, "[matcher]") }

// Format implements fmt.Formatter: a Redactor holds what may become a value.
func (Redactor) Format(state fmt.State, _ rune) { _, _ = io.WriteString(state, "[redactor]") }

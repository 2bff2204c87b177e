package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"
)

// MaxFileSize is the most bytes a declared file may have. A full policy has
// about 2 KiB; the bound keeps a mistaken or hostile file from costing time.
const MaxFileSize = 256 << 10

// maxDepth is the deepest nesting of a declared file: the schema needs 3.
const maxDepth = 16

// parseYAML reads the one document of data. It returns nil, without a
// problem, when the file holds no document.
func (d *decoder) parseYAML(data []byte) *yaml.Node {
	if !d.checkText(data) {
		return nil
	}
	loader, err := yaml.NewLoader(bytes.NewReader(data),
		yaml.WithV4Defaults(),
		// Duplicates are found by the decoder, all of them and with their keys.
		yaml.WithUniqueKeys(false),
		yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthFunc(boundedDepth))))
	if err != nil {
		d.wholeFile(faultf("this is a fault of creel; report it", "cannot start the YAML reader: %v", err))
		return nil
	}
	var document yaml.Node
	if err := loader.Load(&document); err != nil {
		if !errors.Is(err, io.EOF) {
			d.syntax(data, err)
		}
		return nil
	}
	var next yaml.Node
	switch err := loader.Load(&next); {
	case err == nil:
		d.problemAt(position{next.Line, next.Column}, "", faultf("declare one thing per file; remove the document separator and what follows",
			"a second YAML document follows the first"))
	case !errors.Is(err, io.EOF):
		d.syntax(data, err)
	}
	if len(document.Content) == 0 {
		return nil
	}
	return document.Content[0]
}

var errTooDeep = errors.New("the nesting is too deep")

func boundedDepth(depth int, _ *yaml.DepthContext) error {
	if depth > maxDepth {
		return errTooDeep
	}
	return nil
}

// syntax reports what the YAML reader could not read.
func (d *decoder) syntax(data []byte, err error) {
	var load *yaml.LoadError
	if !errors.As(err, &load) || load.Mark.Line == 0 {
		d.wholeFile(faultf("check the file with any YAML reader", "not valid YAML: %v", err))
		return
	}
	message, hint := load.Message, "check indentation, quotes and brackets on this line and the one before"
	if strings.Contains(message, errTooDeep.Error()) {
		hint = "the format needs no more than three levels"
	}
	if load.ContextMsg != "" {
		message = load.ContextMsg + ": " + message
	}
	d.problemAt(inside(data, position{load.Mark.Line, load.Mark.Column}), "",
		faultf(hint, "not valid YAML: %s", message))
}

// inside moves a place that the YAML reader gives past the end of the file, or
// of a line, back to that end.
func inside(data []byte, where position) position {
	rows := bytes.Split(data, []byte("\n"))
	line := min(where.line, len(rows))
	column := max(1, where.column)
	if end := utf8.RuneCount(rows[line-1]) + 1; line < where.line || column > end {
		column = end
	}
	return position{line, column}
}

// checkText refuses bytes that a person reviewing the file would not see as
// the decoder does.
func (d *decoder) checkText(data []byte) bool {
	if len(data) > MaxFileSize {
		d.wholeFile(faultf("a policy needs a few kilobytes; check that this is the right file", "the file has %d bytes, more than the %d allowed", len(data), MaxFileSize))
		return false
	}
	text := string(data)
	line, start := 1, 0
	for i, r := range text {
		if r == '\n' {
			line, start = line+1, i+1
			continue
		}
		wrong := unseen(r)
		if r == utf8.RuneError && !strings.HasPrefix(text[i:], string(utf8.RuneError)) {
			wrong = "a byte that is not UTF-8"
		}
		if r == '\r' && !strings.HasPrefix(text[i:], "\r\n") {
			wrong = "a carriage return without a line feed"
		}
		if wrong != "" {
			at := position{line, utf8.RuneCountInString(text[start:i]) + 1}
			d.problemAt(at, "", faultf("save the file as plain UTF-8 text without it", "the file contains %s", wrong))
			return false
		}
	}
	return true
}

// unseen names a character that is invisible or that reorders the line it is
// in, or returns "". Text that reads differently from what it says is the
// attack of CVE-2021-42574 (Trojan Source).
func unseen(r rune) string {
	switch {
	case r == 0:
		return "a NUL"
	case r == '\uFEFF':
		return "a byte order mark (U+FEFF)"
	case r < ' ' && r != '\t' && r != '\n' && r != '\r', r >= 0x7F && r <= 0x9F:
		return fmt.Sprintf("a control character (%U)", r)
	case r == '\u061C', r >= '\u200B' && r <= '\u200F', r >= '\u202A' && r <= '\u202E', r >= '\u2060' && r <= '\u2069':
		return fmt.Sprintf("an invisible or reordering character (%U)", r)
	case r == '\u2028', r == '\u2029':
		return fmt.Sprintf("a Unicode line separator (%U)", r)
	}
	return ""
}

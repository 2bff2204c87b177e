package program

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf16"

	"github.com/urfave/cli/v2"
)

// JSONFlag asks for JSON where a table is for people.
func JSONFlag() *cli.BoolFlag {
	return &cli.BoolFlag{Name: "json", Usage: "print JSON, whose keys stay the same between versions"}
}

// Table prints rows under a header, in columns as docker's.
func Table(to io.Writer, header []string, rows [][]string) error {
	w := tabwriter.NewWriter(to, 0, 8, 3, ' ', 0)
	fmt.Fprintln(w, strings.Join(header, "\t"))
	for _, row := range rows {
		for i, cell := range row {
			row[i] = Printable(cell)
		}
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print table: %w", err)
	}
	return nil
}

// JSON prints v as indented JSON, with < > & as they are. What prints nothing is
// escaped (RFC 8259, 7), the C1 control characters too, which a terminal would
// obey: there are words of sandboxes in it.
func JSON(to io.Writer, v any) error {
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(v)
	if err == nil {
		_, err = io.WriteString(to, escaped(text.String()))
	}
	if err != nil {
		return fmt.Errorf("print JSON: %w", err)
	}
	return nil
}

// escaped gives JSON in which every character of a string prints something.
func escaped(text string) string {
	var out strings.Builder
	for _, r := range text {
		if r == '\n' || unicode.IsPrint(r) {
			out.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&out, `\u%04x`, unit)
		}
	}
	return out.String()
}

package redact

import (
	"bytes"
	stdbase64 "encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// Values and output made to be slow: everything is a beginning of something,
// and thousands of occurrences are undecided at a time. Quadratic time would
// take longer than a test may.
func TestHostileOutputIsRedactedInLinearTime(t *testing.T) {
	const size = 1 << 20
	long := strings.Repeat("abababab", maxValue/8-1) + "c"
	m := matcher(t, long, "-bababab", "abababa+", strings.Repeat("ab", 20000)+"d")
	text := strings.Repeat("ab", size/2)
	if got := redact(t, m, text); got != text {
		t.Error("text without a value was changed")
	}
	if got := redact(t, m, text, long); got != text+"[redacted:A]" {
		t.Error("the value behind it was not found")
	}
	inner := "x1234567"
	long = strings.Repeat(inner+"-", maxValue/9-1) + "end"
	m = matcher(t, long, inner)
	broken := strings.Repeat(inner+"-", maxValue/9-1) + "+"
	want := strings.Repeat("[redacted:B]-", maxValue/9-1) + "+"
	for range 5 {
		if got := redact(t, m, broken[:len(broken)-1], "+"); got != want {
			t.Fatal("the shorter values inside a long one that broke off")
		}
	}
}

// TestMemoryIsBoundedByTheLongestValue follows a value as far as it goes, in
// the longest form that each reading knows, again and again.
func TestMemoryIsBoundedByTheLongestValue(t *testing.T) {
	const size = 4096
	value := strings.Repeat("/", size-1) + "x"
	m := matcher(t, value)
	if nodes := len(m.trie.nodes); nodes > size+1 {
		t.Errorf("%d nodes for %d bytes", nodes, size)
	}
	form := func(escape string) string { return strings.Repeat(escape, size-1) }
	digits := func(line string) string { return strings.Repeat(line+"\r\n"+strings.Repeat(" ", maxIndent), size/30) }
	for _, piece := range []string{
		form("/"), form(`\u002f`), form("%2F"), digits(strings.Repeat("2f", 30)), digits(strings.Repeat("Ly8v", 15)), "\r\n", "\r", "  ", `\`, "'",
	} {
		r := NewRedactor(io.Discard, m)
		for range 20 {
			for _, c := range []byte(piece) {
				if _, err := r.Write([]byte{c}); err != nil {
					t.Fatal(err)
				}
				if held := len(r.held); held > longestByte*size {
					t.Fatalf("%.20q: %d bytes are held back", piece, held)
				}
			}
		}
		if kept := len(r.memory) + cap(r.out) + 32*(cap(r.pending)+cap(r.fresh)) + 8*rings(r); kept > 180*size+gather {
			t.Errorf("%.20q: %d bytes are kept", piece, kept)
		}
	}
}

// TestNothingIsLeftOfWhatWasHeldBack looks at all the memory that beginnings of
// a value were held in.
func TestNothingIsLeftOfWhatWasHeldBack(t *testing.T) {
	value := strings.Repeat("0123456789abcdefghij", 50)
	r := NewRedactor(io.Discard, matcher(t, value))
	for round := range 40 {
		for at := 0; at < len(value)-1; at += 7 {
			end := min(at+7, len(value)-1)
			if _, err := r.Write([]byte(value[at:end])); err != nil {
				t.Fatal(err)
			}
			if round == 0 && string(r.held) != value[:end] {
				t.Fatalf("control: %q is held back", r.held)
			}
		}
		if _, err := r.Write([]byte(strings.Repeat("-", round))); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if len(r.memory) < len(value) || len(bytes.Trim(r.memory, "\x00")) > 0 {
		t.Errorf("of %d bytes, these are left: %q", len(r.memory), bytes.Trim(r.memory, "\x00"))
	}
}

// rings are the places that a Redactor remembers.
func rings(r *Redactor) (all int) {
	for _, reading := range r.readings() {
		for _, tracker := range reading.trackers() {
			all += cap(tracker.starts)
		}
	}
	return all
}

func TestLargeStreamKeepsEveryOtherByte(t *testing.T) {
	const token = "ghp_0123456789abcdef"
	random := rand.NewChaCha8([32]byte{7})
	noise := make([]byte, 8<<20)
	_, _ = random.Read(noise)
	text := noise[:0:0]
	want := noise[:0:0]
	for at := 0; at < len(noise); at += 12345 {
		piece := noise[at:min(at+12345, len(noise))]
		text = append(append(text, piece...), token...)
		want = append(append(want, piece...), "[redacted:A]"...)
	}
	var out bytes.Buffer
	r := NewRedactor(&out, matcher(t, token, strings.Repeat("another value ", 100)))
	if _, err := io.CopyBuffer(struct{ io.Writer }{r}, struct{ io.Reader }{bytes.NewReader(text)}, make([]byte, 32768)); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), want) {
		t.Error("the stream differs from the expected one")
	}
}

// passed is a text that the filter passes over most of, and whether there is
// a value in it.
type passed struct {
	name, value, text string
	found             bool
}

// everyEscape writes each character but letters and digits as long as can be.
func everyEscape(value string) string {
	var out strings.Builder
	for i := range len(value) {
		if alphanumeric(value[i]) {
			out.WriteByte(value[i])
		} else {
			fmt.Fprintf(&out, `\u%04x`, value[i])
		}
	}
	return out.String()
}

// TestFilterPassesOverNothingThatMatters has what comes just before a value
// decide how it is to be read, where the filter does not look.
func TestFilterPassesOverNothingThatMatters(t *testing.T) {
	long := strings.Repeat("-", 700)
	random := rand.New(rand.NewPCG(11, 12))
	encode := func(value string) string { return stdbase64.StdEncoding.EncodeToString([]byte(value)) }
	const path, bytes45 = "ab/cdefghijklmnopqrst", "0123456789abcdefghijklmnopqrstuvwxyz012345678"
	var tests []passed
	for n := range 30 {
		tests = append(tests, passed{"after pairs of backslashes", path,
			long + strings.Repeat("-", n) + strings.Repeat(`\\`, 100) + `ab\/cdefghijklmnopqrst`, true})
		line := "\n" + strings.Repeat("-", 40+n) + encode(bytes45)[:10] + "\n" + encode(bytes45)[10:]
		wide := "\n" + strings.Repeat(" ", maxIndent) + strings.Repeat("-", 40) + encode(bytes45)[:n] + "\n" + encode(bytes45)[n:]
		tests = append(tests, passed{"after an indent", bytes45, long + wide + long, n == 0 || 40+n >= minWidth})
		tests = append(tests, passed{"after a line's end", bytes45, long + line + long, 40+n+10 >= minWidth})
	}
	// A value whose line ends are longer than those that it is known by.
	const lines = "line 1\r\nline 2\r\r\nline 3\nline 4\r\nline five\r\nand line 6"
	for n := range 40 {
		for _, text := range []string{
			strings.Repeat("x", 60-n) + encode(lines)[:n] + "\n" + encode(lines)[n:],
			strings.Repeat("x", 60-n) + hex.EncodeToString([]byte(lines))[:n] + "\n" + hex.EncodeToString([]byte(lines))[n:],
			everyEscape(lines),
		} {
			tests = append(tests, passed{"line ends", lines, long + strings.Repeat("-", n) + "\n" + text + long, true})
		}
	}
	for _, test := range tests {
		got := check(t, random, test.text, []string{test.value})
		if strings.Contains(got, "[redacted:A]") != test.found {
			t.Errorf("%s: %q came out of %q", test.name, got[700:], test.text[700:])
		}
		if got := redact(t, matcher(t, test.value), test.text); got != reference(test.text, []string{test.value}) {
			t.Errorf("%s, in one write: %q came out of %q", test.name, got[700:], test.text[700:])
		}
	}
}

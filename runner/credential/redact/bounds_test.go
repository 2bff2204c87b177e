package redact

import (
	"bytes"
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
		if kept := cap(r.held) + cap(r.out) + 32*(cap(r.pending)+cap(r.fresh)) + 8*rings(r); kept > 180*size+gather {
			t.Errorf("%.20q: %d bytes are kept", piece, kept)
		}
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

package policy

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func FuzzParse(f *testing.F) {
	for _, dir := range []string{"good", "bad"} {
		for _, file := range samples(f, dir, 5) {
			f.Add(read(f, file))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, problems := Parse("fuzz.yaml", data)
		if (p == nil) != HasErrors(problems) {
			t.Fatalf("policy %v with problems %v", p, problems)
		}
		checkProblems(t, data, problems)
		if p != nil {
			checkRoundTrip(t, p)
		}
	})
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(fullConfig))
	f.Add([]byte(""))
	f.Add([]byte("admins: [a, a]\nstrict: yes\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, problems := ParseConfig("fuzz.yaml", data)
		if (c == nil) != HasErrors(problems) {
			t.Fatalf("config %v with problems %v", c, problems)
		}
		checkProblems(t, data, problems)
	})
}

// checkProblems: each problem is one line, has a hint and stands inside the
// file, and they are in the file's order.
func checkProblems(t *testing.T, data []byte, problems []Problem) {
	rows := bytes.Split(data, []byte("\n"))
	for _, p := range problems {
		if strings.ContainsFunc(p.String(), func(r rune) bool { return r == '\n' || unseen(r) != "" }) {
			t.Errorf("not one plain line: %q", p.String())
		}
		if p.Message == "" || p.Hint == "" {
			t.Errorf("without message or hint: %#v", p)
		}
		if p.Line == 0 && p.Column == 0 {
			continue
		}
		if p.Line < 1 || p.Line > len(rows) || p.Column < 1 || p.Column > utf8.RuneCount(rows[p.Line-1])+1 {
			t.Errorf("outside the file's %d lines: %v", len(rows), p)
		}
	}
	if !slices.IsSortedFunc(problems, func(a, b Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	}) {
		t.Errorf("not in order:\n%s", lines(problems))
	}
}

func checkRoundTrip(t *testing.T, p *Policy) {
	text := shown(t, p)
	again, problems := Parse("shown.yaml", []byte(text))
	if again == nil {
		t.Fatalf("what Show wrote was refused:\n%s%s", lines(problems), text)
	}
	if diff := cmp.Diff(p, again, compareAddresses); diff != "" {
		t.Fatalf("Show changed the policy (-first +again):\n%s", diff)
	}
	if second := shown(t, again); second != text {
		t.Fatalf("Show is not canonical:\n%s", cmp.Diff(text, second))
	}
}

// BenchmarkParse reads the example of the documentation; a reload of a
// hundred policies must not be felt.
func BenchmarkParse(b *testing.B) {
	data := read(b, "testdata/good/exec-default.yaml")
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if p, problems := Parse("exec-default.yaml", data); p == nil {
			b.Fatal(lines(problems))
		}
	}
}

package redact

import (
	"bytes"
	stdbase64 "encoding/base64"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"
)

// lulled is a redactor whose stream pauses.
type lulled struct {
	*Redactor
	t   testing.TB
	out bytes.Buffer
}

func newLulled(t testing.TB, values ...string) *lulled {
	t.Helper()
	r := &lulled{t: t}
	r.Redactor = NewRedactor(&r.out, matcher(t, values...))
	return r
}

// write writes and says what appears.
func (r *lulled) write(text string) string {
	r.t.Helper()
	r.out.Reset()
	if _, err := r.Write([]byte(text)); err != nil {
		r.t.Fatal(err)
	}
	return r.out.String()
}

// lull says what appears of what was held back.
func (r *lulled) lull() string {
	r.t.Helper()
	r.out.Reset()
	if err := r.Lull(); err != nil {
		r.t.Fatal(err)
	}
	return r.out.String()
}

const (
	lullToken = "ghp_0123456789abcdefghijklmnop" // of which 3 characters may pass
	lullShort = "/p@ss word"                     // of which one may
)

func TestPromptThatEndsLikeAValueBeginsAppearsInALull(t *testing.T) {
	for _, test := range []struct{ value, write, appears, inLull string }{
		{lullToken, "go on? g", "go on? ", "g"},
		{lullToken, "go on? ghp", "go on? ", "ghp"},
		{lullToken, "go on? ghp_", "go on? ", ""}, // more than that of a value waits
		{lullToken, "go on? 6", "go on? ", "6"},   // half a character in hexadecimal
		{lullToken, "go on? 676", "go on? ", "676"},
		{lullToken, "go on? 676870", "go on? ", ""},
		{lullToken, "go on? Z", "go on? ", "Z"}, // 6 bits of one in base64
		{lullToken, "go on? Z2h", "go on? ", "Z2h"},
		{lullToken, "go on? Z2hw", "go on? ", ""},
		{lullToken, "nothing!", "nothing!", ""},
		{lullShort, "go on? /", "go on? ", "/"},
		{lullShort, "go on? /p", "go on? ", ""},
		{lullShort, "go on? %2", "go on? ", "%2"},
		{lullShort, "go on? %2f", "go on? ", "%"}, // 2f is a whole character in hexadecimal
		{lullShort, `go on? \`, "go on? ", `\`},
		{lullShort, `go on? \/`, "go on? ", `\/`},
		{lullShort, `go on? \u00`, "go on? ", ""},
		{"\n  an indented value", "50%\r", "50%", "\r"},
	} {
		r := newLulled(t, test.value)
		if got := r.write(test.write); got != test.appears {
			t.Errorf("%q: %q appears, want %q", test.write, got, test.appears)
		}
		for n, want := range []string{test.inLull, "", ""} {
			if got := r.lull(); got != want {
				t.Errorf("%q: %q appears in lull %d, want %q", test.write, got, n, want)
			}
		}
	}
}

func TestRestOfAValueIsHiddenAfterALull(t *testing.T) {
	for _, form := range []string{
		lullToken, hex.EncodeToString([]byte(lullToken)), strings.ToUpper(hex.EncodeToString([]byte(lullToken))),
		stdbase64.StdEncoding.EncodeToString([]byte(lullToken)), stdbase64.StdEncoding.EncodeToString([]byte("x" + lullToken))[1:],
	} {
		r := newLulled(t, lullToken)
		var shown strings.Builder
		for _, c := range form { // the slowest of all writers
			shown.WriteString(r.write(string(c)) + r.lull())
		}
		shown.WriteString(r.write("\n") + r.lull())
		passed, rest, found := strings.Cut(shown.String(), "[redacted:A]")
		if !found || !strings.HasPrefix(form, passed) || len(passed) == 0 || len(passed) > 6 || strings.Trim(rest, "=\n") != "" {
			t.Errorf("of %q there appears %q", form, shown.String())
		}
	}
}

// Whoever repeats a value, with pauses wherever they like, is shown its
// beginning once.
func TestBeginningOfAValueIsLetGoOnce(t *testing.T) {
	r := newLulled(t, lullToken, lullShort)
	var shown strings.Builder
	for n := range 10000 {
		from := 0
		for _, to := range []int{n % 4, max(n%4, n%7), 9, 10} {
			shown.WriteString(r.write(lullToken[from:to]) + r.lull())
			from = to
		}
		shown.WriteString(r.write(lullToken[10:]+"\n") + r.lull())
	}
	if got, want := shown.String(), strings.Repeat("[redacted:A]\n", 10000); got != want {
		extra := strings.ReplaceAll(got, "[redacted:A]\n", "")
		if len(extra) == 0 || len(extra) > looseMost || !strings.HasPrefix(lullToken, extra) {
			t.Errorf("beside the marks %d bytes appear: %.40q", len(extra), extra)
		}
	} else {
		t.Error("control: nothing was let go")
	}
	// A prompt that ends so waits from then on, until more comes.
	if got := r.write("go on? g") + r.lull(); got != "go on? " {
		t.Errorf("%q appears", got)
	}
	if got := r.write("o"); got != "go" {
		t.Errorf("%q appears", got)
	}
}

func TestLullChangesNothingElse(t *testing.T) {
	r := newLulled(t, lullToken)
	if got := r.write("g") + r.lull() + r.write("it ghp_") + r.lull() + r.write("!\n"); got != "git ghp_!\n" {
		t.Errorf("%q: what is no value is not whole", got)
	}
	r = newLulled(t, lullToken)
	r.write(lullToken[:2])
	if r.lull() != "gh" {
		t.Error("control: nothing was let go")
	}
	r.write(lullToken[2:12])
	r.out.Reset()
	if err := r.Cut(); err != nil || r.out.String() != "[redacted:A]" {
		t.Errorf("cut: %q, %v", r.out.String(), err)
	}
	r = newLulled(t, lullToken)
	r.write(lullToken[:3])
	r.matcher.Destroy()
	r.out.Reset()
	if err := r.Lull(); err == nil || r.out.Len() > 0 {
		t.Errorf("destroyed: %v, %q appears", err, r.out.String())
	}
}

// lullAll redacts pieces with a lull after some, and calls after then.
func lullAll(t testing.TB, random *rand.Rand, m *Matcher, pieces []string, after func(r *Redactor, written string)) string {
	t.Helper()
	var out bytes.Buffer
	r := NewRedactor(&out, m)
	written := ""
	for _, piece := range pieces {
		if _, err := r.Write([]byte(piece)); err != nil {
			t.Fatal(err)
		}
		written += piece
		if random.IntN(3) > 0 {
			if err := r.Lull(); err != nil {
				t.Fatal(err)
			}
			after(r, written)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// checkLulled compares with the reference: of one occurrence at most, a
// beginning of at most so many bytes of text may stand before its mark.
func checkLulled(t testing.TB, got, text string, values []string, most int) {
	t.Helper()
	fail := func(why string) {
		t.Helper()
		t.Fatalf("%s: values %q\ntext %q\ngot  %q\nwant %q", why, values, text, got, reference(text, values))
	}
	rest, done, early := got, 0, 0
	for _, o := range merged(occurrences(text, values)) {
		var ok bool
		if rest, ok = strings.CutPrefix(rest, text[done:o.start]); !ok {
			fail("other text is not whole")
		}
		shown := 0
		for !strings.HasPrefix(rest[min(shown, len(rest)):], o.mark()) {
			if shown++; shown > most || !strings.HasPrefix(rest, text[o.start:min(o.end, o.start+shown)]) {
				fail("more of a value than may be")
			}
		}
		early += min(shown, 1)
		rest, done = rest[shown+len(o.mark()):], o.end
	}
	if rest != text[done:] {
		fail("the end is not whole")
	}
	if early > 1 {
		fail("the beginnings of several occurrences")
	}
}

// What is held back after a lull is, in a text that has one reading, what is
// more than may pass of a value.
func TestLullAgreesWithTheReference(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	letters := func(n, kinds int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "!*()"[random.IntN(kinds)]
		}
		return string(b)
	}
	held, free, bitten := 0, 0, 0
	for range 2000 {
		values, text := []string(nil), ""
		for range 1 + random.IntN(3) {
			values = append(values, letters(MinValue+random.IntN(24), 1+random.IntN(4)))
		}
		for range 1 + random.IntN(12) {
			value := values[random.IntN(len(values))]
			text += []string{value, value[:random.IntN(5)], value[random.IntN(len(value)):], letters(random.IntN(6), 4)}[random.IntN(4)]
		}
		m := matcher(t, values...)
		got := lullAll(t, random, m, split(random, text), func(r *Redactor, written string) {
			depth, found := 0, 0
			for _, value := range values {
				if at := strings.LastIndex(written, value); at >= 0 {
					found = max(found, at+len(value))
				}
				for d := min(len(value)-1, len(written)); d > depth; d-- {
					if strings.HasSuffix(written, value[:d]) {
						depth = d
					}
				}
			}
			most := m.loose
			if r.bitten {
				bitten, most = bitten+1, 0
			}
			within := depth > 0 && len(written)-depth < found // and so hidden with what was found
			if r.Holds() != (depth > most || within) {
				t.Fatalf("values %q, after %q: %d bytes are held back, of a value there are %d", values, written, len(r.held), depth)
			}
			held, free = held+min(depth, 1), free+1
		})
		checkLulled(t, got, text, values, m.loose)
	}
	if held < 1000 || free < 1000 || bitten < 100 {
		t.Errorf("control: %d lulls within a value, %d in all, %d after one that let go too early", held, free, bitten)
	}
}

func FuzzLull(f *testing.F) {
	f.Add("-abcdefghijkl-", "abcdefgh", "efghijkl", uint64(1))
	f.Add("abababababab", "abababab", "babababababababababababababababa", uint64(2))
	f.Add(`\u0041\/\\n'\''+%2f%`, "pass/w'rd+a b 0123456789", "\"\\\n\té😀 x 0123456789 012345", uint64(4))
	f.Fuzz(func(t *testing.T, text, first, second string, seed uint64) {
		values := []string{first, second}
		for _, value := range values {
			// The reference knows nothing of replaced marks.
			if len(WithoutReturns([]byte(value))) < MinValue || strings.ContainsAny(value, "\x00[:]") || strings.Contains("redacted", value) {
				return
			}
		}
		random := rand.New(rand.NewPCG(seed, 0))
		text += first[:len(first)/2] + second + first + text + hex.EncodeToString([]byte(first)) + " " + stdbase64.StdEncoding.EncodeToString([]byte(second)) + everyEscape(first)
		m := matcher(t, values...)
		got := lullAll(t, random, m, split(random, text), func(*Redactor, string) {})
		checkLulled(t, got, text, values, longestEnd*m.loose)
	})
}

package redact

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
)

// maxValue is the longest that a credential may be.
const maxValue = 64 << 10

// named makes values named A, B, C….
func named(values ...string) []Value {
	var all []Value
	for i, value := range values {
		all = append(all, Value{Name: string(rune('A' + i)), Bytes: []byte(value)})
	}
	return all
}

func matcher(t testing.TB, values ...string) *Matcher {
	t.Helper()
	m, err := NewMatcher(named(values...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Destroy)
	return m
}

// redact writes the pieces and closes.
func redact(t testing.TB, m *Matcher, pieces ...string) string {
	t.Helper()
	var out bytes.Buffer
	r := NewRedactor(&out, m)
	for _, piece := range pieces {
		if n, err := r.Write([]byte(piece)); err != nil || n != len(piece) {
			t.Fatalf("Write of %d bytes: %d, %v", len(piece), n, err)
		}
	}
	if err := r.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	return out.String()
}

func TestValueIsReplacedHoweverItIsWritten(t *testing.T) {
	const (
		token  = "ghp_0123456789abcdef"
		longer = token + "-and-more"
		inside = "56789abc"
		key    = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\n  AAECAwQFBgcICQoLDA0O\nshort line\n================\n-----END KEY-----"
	)
	for _, test := range []struct {
		name       string
		values     []string
		text, want string
	}{
		{"nothing to hide", []string{token}, "ghp_0123456789abcdeX", "ghp_0123456789abcdeX"},
		{"alone", []string{token}, token, "[redacted:A]"},
		{"in text", []string{token}, "token=" + token + "\n", "token=[redacted:A]\n"},
		{"twice, touching", []string{token}, token + token, "[redacted:A][redacted:A]"},
		{"after its own beginning", []string{token}, "ghp_0ghp_" + token, "ghp_0ghp_[redacted:A]"},
		{"the longest of those that start together", []string{token, longer}, longer + token, "[redacted:B][redacted:A]"},
		{"the shorter when the longer breaks off", []string{token, longer}, token + "-and-mor", "[redacted:A]-and-mor"},
		{"one inside another", []string{inside, token}, token + " " + inside, "[redacted:B] [redacted:A]"},
		{"inside one that breaks off", []string{inside, token}, "ghp_0123456789abcdeX", "ghp_01234[redacted:A]deX"},
		{"overlapping: no half is left", []string{"abcdefgh", "efghijkl"}, "-abcdefghijkl-", "-[redacted:A]-"},
		{"overlapping itself", []string{"abababab"}, "xabababababx", "x[redacted:A]x"},
		{"same value twice", []string{token, token}, token, "[redacted:A]"},
		{"on a terminal", []string{"line one\nline two\nend"}, "line one\r\nline two\r\nend", "[redacted:A]"},
		{"on a terminal, with CRLF of its own", []string{"line one\r\nline two\nend"}, "line one\r\r\nline two\r\nend", "[redacted:A]"},
		{"with a carriage return at its end", []string{"long enough\r"}, "long enough\r\n", "[redacted:A]\r\n"},
		{"not UTF-8, as Python escapes it", []string{"caf\xe9-0123"}, `caf\udce9-0123`, "[redacted:A]"},
		{"binary", []string{"\xff\xfe\x01\x02\x03\x04\x05\x06"}, "\x00\xff\xfe\x01\x02\x03\x04\x05\x06\xff", "\x00[redacted:A]\xff"},
		{"no values", nil, token, token},
		{"lines of a key", []string{key}, "MIIEvQIBADANBgkqhkiG\n-----END KEY-----\n", "[redacted:A]\n-----END KEY-----\n"},
		{"all of a key", []string{key}, key + "\n", "[redacted:A]\n"},
		{"a short line, and one of few characters", []string{key}, "short line\n================\n", "short line\n================\n"},
		{"a key within JSON", []string{`{"key":"` + strings.ReplaceAll(key, "\n", `\n`) + `"}`}, "MIIEvQIBADANBgkqhkiG", "[redacted:A]"},
		{"a mark that holds a value", []string{"redacted", "[redacted:"}, "redacted [redacted:", "[#] [#]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := matcher(t, test.values...)
			if got := redact(t, m, test.text); got != test.want {
				t.Errorf("whole: %q, want %q", got, test.want)
			}
			if got := redact(t, m, strings.Split(test.text, "")...); got != test.want {
				t.Errorf("by characters: %q, want %q", got, test.want)
			}
			for cut := range len(test.text) + 1 {
				if got := redact(t, m, test.text[:cut], test.text[cut:]); got != test.want {
					t.Errorf("cut at %d: %q, want %q", cut, got, test.want)
				}
			}
		})
	}
}

func TestOnlyABeginningOfAValueIsHeldBack(t *testing.T) {
	const token = "ghp_0123456789abcdef"
	m := matcher(t, token, "password")
	var out bytes.Buffer
	r := NewRedactor(&out, m)
	for _, step := range []struct{ write, appears string }{
		{"Enter pass", "Enter "},
		{"phrase: ", "passphrase: "}, // a prompt without a newline
		{"gh", ""},
		{"p_01", ""},
		{"2", ""},
		{"x", "ghp_012x"},
		{token[:10], ""},
		{token[10:], "[redacted:A]"}, // no longer one: complete at once
		{"p", ""},
		{"pas", "p"},
	} {
		out.Reset()
		if _, err := r.Write([]byte(step.write)); err != nil {
			t.Fatal(err)
		}
		if out.String() != step.appears {
			t.Errorf("after %q: %q appears, want %q", step.write, out.String(), step.appears)
		}
	}
	out.Reset()
	if err := r.Close(); err != nil || out.String() != "pas" {
		t.Errorf("Close: %q, %v, want what was held back", out.String(), err)
	}
}

// heldBack counts the letters and digits that would not appear at once, each
// the first to be typed.
func heldBack(t *testing.T, m *Matcher) (held string) {
	t.Helper()
	for _, c := range alphabet {
		var out bytes.Buffer
		if _, err := NewRedactor(&out, m).Write([]byte("$ " + string(c))); err != nil {
			t.Fatal(err)
		}
		if out.String() != "$ "+string(c) {
			held += string(c)
		}
	}
	return held
}

func TestHardlyAnythingTypedIsHeldBack(t *testing.T) {
	// The beginning of it as it is, in hexadecimal and in base64.
	if got := heldBack(t, matcher(t, "ghp_0123456789abcdef")); got != "Zg6" {
		t.Errorf("held back are %q", got)
	}
}

func TestBrokenOffStreamDoesNotEndInPartOfAValue(t *testing.T) {
	const token = "ghp_0123456789abcdef"
	m := matcher(t, token)
	for _, test := range []struct{ text, want string }{
		{"token: " + token[:19], "token: [redacted:A]"},
		{"token: " + token[:8], "token: [redacted:A]"},
		{"token: " + token[:7], "token: " + token[:7]},
		{"token: " + token, "token: [redacted:A]"},
		{"nothing", "nothing"},
	} {
		var out bytes.Buffer
		r := NewRedactor(&out, m)
		if _, err := r.Write([]byte(test.text)); err != nil {
			t.Fatal(err)
		}
		if err := r.Cut(); err != nil || out.String() != test.want {
			t.Errorf("%q cut: %q, %v, want %q", test.text, out.String(), err, test.want)
		}
	}
	// The control: the same end, come to by the stream itself, is not a value.
	if got := redact(t, m, "token: "+token[:19]); got != "token: "+token[:19] {
		t.Errorf("closed: %q", got)
	}
}

func TestMatcherRefusesWhatCannotBeRedacted(t *testing.T) {
	for _, value := range []string{"", "1234567", "with\x00a NUL"} {
		if _, err := NewMatcher(named("long enough", value)); err == nil {
			t.Errorf("a value of %d bytes was taken", len(value))
		} else if !strings.Contains(err.Error(), "redact B") {
			t.Errorf("the error does not name the variable: %v", err)
		}
	}
	for _, value := range []string{"12345678", strings.Repeat("x", maxValue)} {
		if got := redact(t, matcher(t, value), "-"+value+"-"); got != "-[redacted:A]-" {
			t.Errorf("control: a value of %d bytes: %d bytes came out", len(value), len(got))
		}
	}
}

// failing takes limit bytes and then fails.
type failing struct{ limit int }

var errFull = errors.New("full")

func (f *failing) Write(p []byte) (int, error) {
	if f.limit -= len(p); f.limit < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestErrorOfTheWriterStays(t *testing.T) {
	r := NewRedactor(&failing{limit: 10}, matcher(t, "long enough"))
	if _, err := r.Write([]byte("12345")); err != nil {
		t.Fatalf("control: %v", err)
	}
	for range 2 {
		if _, err := r.Write([]byte("1234567")); !errors.Is(err, errFull) {
			t.Errorf("Write: %v", err)
		}
	}
	if err := r.Close(); !errors.Is(err, errFull) {
		t.Errorf("Close: %v", err)
	}
}

func TestDestroyedMatcherPassesNothing(t *testing.T) {
	value := []byte("long enough")
	m, err := NewMatcher([]Value{{Name: "A", Bytes: value}})
	if err != nil {
		t.Fatal(err)
	}
	clear(value)
	if got := redact(t, m, "long enough"); got != "[redacted:A]" {
		t.Errorf("control: the matcher needs the value no more: %q", got)
	}
	nodes, heads := m.trie.nodes, m.filter.heads
	m.Destroy()
	var out bytes.Buffer
	r := NewRedactor(&out, m)
	if _, err := r.Write([]byte("long enough")); err == nil || out.Len() > 0 {
		t.Errorf("Write: %v, %q came out", err, out.String())
	}
	if err := r.Close(); err == nil {
		t.Error("Close: no error")
	}
	for _, n := range nodes {
		if n.char != 0 {
			t.Fatal("the automaton still spells it")
		}
	}
	for _, head := range heads {
		if head.text != 0 {
			t.Fatal("the filter still has its beginning")
		}
	}
}

// split cuts text at random, mostly into small pieces.
func split(random *rand.Rand, text string) []string {
	var pieces []string
	for len(text) > 0 {
		n := 1 + random.IntN(12)
		if random.IntN(4) == 0 {
			n = 1 + random.IntN(len(text))
		}
		n = min(n, len(text))
		pieces = append(pieces, text[:n])
		text = text[n:]
	}
	return pieces
}

// check compares with the reference and looks for values in what came out.
func check(t testing.TB, random *rand.Rand, text string, values []string) string {
	t.Helper()
	got := redact(t, matcher(t, values...), split(random, text)...)
	if want := reference(text, values); got != want {
		t.Fatalf("values %q\ntext %q\ngot  %q\nwant %q", values, text, got, want)
	}
	for _, value := range values {
		if strings.Contains(got, value) {
			t.Fatalf("value %q came out: %q", value, got)
		}
	}
	return got
}

// Texts made of the values' own pieces, over two letters, so that nearly
// everything overlaps with nearly everything.
func TestRedactorAgreesWithTheReference(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	letters := func(n, kinds int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = "xyz+"[random.IntN(kinds)]
		}
		return string(b)
	}
	for range 2000 {
		var values []string
		for range 1 + random.IntN(5) {
			value := letters(MinValue+random.IntN(12), 1+random.IntN(3))
			if len(values) > 0 && random.IntN(2) == 0 { // a shared prefix
				value = values[0][:random.IntN(len(values[0]))] + value
			}
			values = append(values, value)
		}
		var text strings.Builder
		for range random.IntN(12) {
			value := values[random.IntN(len(values))]
			switch random.IntN(4) {
			case 0:
				text.WriteString(value)
			case 1:
				text.WriteString(value[:random.IntN(len(value))])
			case 2:
				text.WriteString(value[random.IntN(len(value)):])
			default:
				text.WriteString(letters(random.IntN(20), 4))
			}
		}
		check(t, random, text.String(), values)
	}
}

func FuzzRedactor(f *testing.F) {
	f.Add("-abcdefghijkl-", "abcdefgh", "efghijkl", uint64(1))
	f.Add("abababababab", "abababab", "babababa", uint64(2))
	f.Add(strings.Repeat("0123456789", 20), "0123456789012", "8901234567890123456789", uint64(3))
	f.Add(`\u0041\/\\n'\''+%2f%`, "pass/w'rd+a b", "\"\\\n\té😀 x", uint64(4))
	f.Fuzz(func(t *testing.T, text, first, second string, seed uint64) {
		values := []string{first, second}
		for _, value := range values {
			// The reference knows nothing of replaced marks.
			if len(WithoutReturns([]byte(value))) < MinValue || strings.ContainsAny(value, "\x00[:]") || strings.Contains("redacted", value) {
				return
			}
		}
		random := rand.New(rand.NewPCG(seed, 0))
		check(t, random, text, values)
		check(t, random, text+first[:len(first)/2]+second+first+text, values)
	})
}

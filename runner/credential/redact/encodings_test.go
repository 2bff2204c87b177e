package redact

import (
	"bytes"
	stdbase64 "encoding/base64"
	stdhex "encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"
)

// encoding is one way to write a value, as some tool does. It may choose.
type encoding struct {
	name   string
	encode func(random *rand.Rand, value string) string
}

// always is an encoding without choice.
func always(encode func(string) string) func(*rand.Rand, string) string {
	return func(_ *rand.Rand, value string) string { return encode(value) }
}

// alone are the encodings of a value and nothing else.
var alone = encodings[:15]

var encodings = []encoding{
	{"as it is", always(func(v string) string { return v })},
	{"on a terminal", always(func(v string) string { return strings.ReplaceAll(v, "\n", "\r\n") })},
	{"JSON, of Go", always(goJSON)},
	{"Python's ascii", always(func(v string) string { return inner(strconv.QuoteToASCII(v)) })},
	{"JSON, of any encoder", anyJSON},
	{"C", always(func(v string) string { return inner(strconv.Quote(v)) })},
	{"octal", always(octal)},
	{"backslashes", always(backslashed)},
	{"single quotes, bash", always(func(v string) string { return "'" + strings.ReplaceAll(v, "'", `'\''`) + "'" })},
	{"single quotes, Python", always(func(v string) string { return "'" + strings.ReplaceAll(v, "'", `'"'"'`) + "'" })},
	{"URL query", always(url.QueryEscape)},
	{"URL path", always(url.PathEscape)},
	{"URL, of any encoder", anyPercent},
	{"hex", anyHex},
	{"base64", always(func(v string) string { return stdbase64.RawStdEncoding.EncodeToString([]byte(v)) })},
	// From here on the value is encoded with what is before and after it.
	{"hex, wrapped", func(random *rand.Rand, v string) string {
		return wrap(random, anyHex(random, noise(random)+v+noise(random)))
	}},
	{"base64, anywhere", anyBase64},
	{"base64, wrapped", func(random *rand.Rand, v string) string { return wrap(random, anyBase64(random, v)) }},
}

// inner is what stands between quotes.
func inner(v string) string { return v[1 : len(v)-1] }

func goJSON(v string) string {
	b, _ := json.Marshal(v)
	return inner(string(b))
}

// anyJSON escapes at will what is neither a letter nor a digit.
func anyJSON(random *rand.Rand, v string) string {
	var out strings.Builder
	for _, r := range v {
		switch short := strings.IndexRune("\"\\/\b\f\n\r\t", r); {
		case r < 0x80 && alphanumeric(byte(r)):
			out.WriteRune(r)
		case short >= 0 && random.IntN(2) == 0:
			out.WriteString(`\` + `"\/bfnrt`[short:short+1])
		case random.IntN(2) == 0:
			for _, unit := range utf16.Encode([]rune{r}) {
				fmt.Fprintf(&out, [...]string{`\u%04x`, `\u%04X`}[random.IntN(2)], unit)
			}
		case r == '\\': // as itself it would begin an escape
			out.WriteString(`\\`)
		default:
			out.WriteRune(r)
		}
	}
	return out.String()
}

func octal(v string) string {
	var out strings.Builder
	for i := range len(v) {
		if c := v[i]; c < ' ' || c > '~' || c == '\\' || c == '\'' {
			fmt.Fprintf(&out, `\%03o`, c)
		} else {
			out.WriteByte(c)
		}
	}
	return out.String()
}

func backslashed(v string) string {
	var out strings.Builder
	for i := range len(v) {
		if c := v[i]; c < utf8.RuneSelf && c > ' ' && !alphanumeric(c) {
			out.WriteByte('\\')
		}
		out.WriteByte(v[i])
	}
	return out.String()
}

// anyPercent escapes at will what is neither a letter nor a digit.
func anyPercent(random *rand.Rand, v string) string {
	plus := random.IntN(2) == 0
	var out strings.Builder
	for i := range len(v) {
		c := v[i]
		switch {
		case alphanumeric(c), c != '%' && c != '+' && random.IntN(3) == 0:
			out.WriteByte(c)
		case c == ' ' && plus:
			out.WriteByte('+')
		default:
			fmt.Fprintf(&out, [...]string{"%%%02x", "%%%02X"}[random.IntN(2)], c)
		}
	}
	return out.String()
}

func anyHex(random *rand.Rand, v string) string {
	out := []byte(stdhex.EncodeToString([]byte(v)))
	switch random.IntN(3) {
	case 0:
		out = bytes.ToUpper(out)
	case 1:
		for i := range out {
			if random.IntN(2) == 0 {
				out[i] = bytes.ToUpper(out[i : i+1])[0]
			}
		}
	}
	return string(out)
}

// anyBase64 encodes it with something before and after.
func anyBase64(random *rand.Rand, v string) string {
	v = noise(random)[:random.IntN(3)] + v + noise(random)[:random.IntN(3)]
	if random.IntN(2) == 0 {
		v = noise(random) + v + noise(random)
	}
	return [...]*stdbase64.Encoding{stdbase64.StdEncoding, stdbase64.URLEncoding, stdbase64.RawStdEncoding,
		stdbase64.RawURLEncoding}[random.IntN(4)].EncodeToString([]byte(v))
}

// wrap breaks lines as base64(1), PEM and xxd -p do.
func wrap(random *rand.Rand, digits string) string {
	width := []int{60, 64, 76}[random.IntN(3)]
	end := []string{"\n", "\r\n", "\n    ", "\n" + strings.Repeat(" ", maxIndent)}[random.IntN(4)]
	var out strings.Builder
	for len(digits) > width {
		out.WriteString(digits[:width] + end)
		digits = digits[width:]
	}
	return "\n" + out.String() + digits + "\n"
}

// noise is what output is made of besides. It does not end in the beginning of
// an escape, to which the value after it would belong.
func noise(random *rand.Rand) string {
	switch random.IntN(4) {
	case 0:
		b := make([]byte, 3+random.IntN(60))
		for i := range b {
			b[i] = byte(random.IntN(256))
		}
		return string(b) + "--"
	case 1:
		return strings.Repeat(`C:\\new\u0041'\''%2f+"'"`, 1+random.IntN(3))
	case 2:
		return strings.Repeat("c29tZSB0ZXh0IGFzIGJhc2U2NA", 1+random.IntN(3))
	}
	return strings.Repeat("the value is \"known\": https://example.org/a?b=c\n", 1+random.IntN(2))
}

// anyValue is a token, a password, a text of lines, or bytes.
func anyValue(random *rand.Rand) string {
	pick := func(n int, from string) string {
		var out strings.Builder
		kinds := []rune(from)
		for range n {
			out.WriteRune(kinds[random.IntN(len(kinds))])
		}
		return out.String()
	}
	switch random.IntN(5) {
	case 0:
		return pick(8+random.IntN(50), alphabet)
	case 1:
		return pick(8+random.IntN(30), alphabet+`!"#$%&'()*+,-./:;<=>?@[\]^_{|}~ `)
	case 2:
		return pick(8+random.IntN(10), `!"#$%&'()*+,-./:;<=>?@[\]^_{|}~ ab`)
	case 3:
		return "-----BEGIN KEY-----\n" + strings.Repeat(pick(8+random.IntN(40), alphabet+"+/")+"\n", 1+random.IntN(2)) + pick(10, alphabet)
	}
	return pick(8+random.IntN(20), "aé\u00ff\u20ac😀\n\r\t'\\\"\x01 z")
}

// TestNoEncodingOfAValuePasses writes values in every way, amid whatever else,
// in pieces, and compares with what redaction means.
func TestNoEncodingOfAValuePasses(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for round := range 100 {
		values := []string{anyValue(random)}
		if random.IntN(3) == 0 {
			values = append(values, anyValue(random))
		}
		for _, encoding := range encodings {
			var text strings.Builder
			for range random.IntN(12) {
				text.WriteString(noise(random))
			}
			value := values[random.IntN(len(values))]
			if !utf8.ValidString(value) {
				t.Fatalf("round %d: %q", round, value)
			}
			encoded := encoding.encode(random, value)
			text.WriteString(encoded)
			for range random.IntN(12) {
				text.WriteString(noise(random))
			}
			got := check(t, random, text.String(), values)
			if !strings.Contains(got, "[redacted:") {
				t.Fatalf("%s: value %q as %q was not found in %q", encoding.name, value, encoded, text.String())
			}
			if strings.Contains(got, encoded) {
				t.Fatalf("%s: value %q came out as %q", encoding.name, value, encoded)
			}
		}
	}
}

// FuzzEncodings is the same with values and surroundings of the fuzzer's.
func FuzzEncodings(f *testing.F) {
	for i := range encodings {
		f.Add("pa/ss'w\"o\\rd\n+ %", "before\n", "\nafter", uint8(i), uint64(i))
	}
	f.Fuzz(func(t *testing.T, value, before, after string, which uint8, seed uint64) {
		if len(strings.TrimRight(value, "\r")) < MinValue || strings.Contains(value, "\x00") ||
			strings.Contains("[redacted:A]", value) || !utf8.ValidString(value) || len(before) > 1000 || len(after) > 1000 {
			return
		}
		random := rand.New(rand.NewPCG(seed, 0))
		before = strings.Repeat(before, 1+int(seed%16)) // enough for the filter to pass over
		encoding := encodings[int(which)%len(encodings)]
		encoded := encoding.encode(random, value)
		// So that what is before does not make the value a part of an escape.
		got := redact(t, matcher(t, value), split(random, before+"--"+encoded+after)...)
		if want := reference(before+"--"+encoded+after, []string{value}); got != want {
			t.Fatalf("%s: value %q between %q and %q as %q: got %q, want %q", encoding.name, value, before, after, encoded, got, want)
		}
		if !strings.Contains(got, "[redacted:A]") {
			t.Fatalf("%s: value %q as %q is not found: %q", encoding.name, value, encoded, got)
		}
	})
}

// TestOnlyABeginningOfAnEncodingIsHeldBack writes each encoding of a value one
// character at a time, then something else instead of its last part.
func TestOnlyABeginningOfAnEncodingIsHeldBack(t *testing.T) {
	const value = "pa/ss'w\"o\\rd\n+ %0123456789abcdef"
	random := rand.New(rand.NewPCG(5, 6))
	m := matcher(t, value)
	for _, encoding := range alone {
		encoded := encoding.encode(random, value)
		for _, cut := range []int{1, len(encoded) / 3, len(encoded) / 2} {
			var out bytes.Buffer
			r := NewRedactor(&out, m)
			for _, c := range []byte("-- " + encoded[:cut]) {
				if _, err := r.Write([]byte{c}); err != nil {
					t.Fatal(err)
				}
			}
			if !strings.HasPrefix(out.String(), "-- ") {
				t.Errorf("%s: what is before it is held back: %q", encoding.name, out.String())
			}
			_, err := r.Write([]byte("?!? "))
			if want := "-- " + encoded[:cut] + "?!? "; err != nil || out.String() != want {
				t.Errorf("%s: %q, %v when it went on otherwise, want %q", encoding.name, out.String(), err, want)
			}
		}
	}
}

// TestBrokenOffEncodingIsNotPartOfAValue cuts streams off within a value.
func TestBrokenOffEncodingIsNotPartOfAValue(t *testing.T) {
	const value = "pa/ss'w\"o\\rd\n+ %0123456789abcdef"
	random := rand.New(rand.NewPCG(7, 8))
	m := matcher(t, value)
	for _, encoding := range alone {
		encoded := encoding.encode(random, value)
		cut := len(encoded) - len(encoded)/4
		for broken, end := range map[bool]func(*Redactor) error{true: (*Redactor).Cut, false: (*Redactor).Close} {
			var out bytes.Buffer
			r := NewRedactor(&out, m)
			if _, err := r.Write([]byte("-- " + encoded[:cut])); err != nil {
				t.Fatal(err)
			}
			if err := end(r); err != nil || strings.Contains(out.String(), "[redacted:A]") != broken {
				t.Errorf("%s, %q: broken off %t, %q came out, %v", encoding.name, encoded[:cut], broken, out.String(), err)
			}
		}
	}
}

// TestLargeStreamKeepsAllButEncodings is large enough for the filter to pass
// over most of it.
func TestLargeStreamKeepsAllButEncodings(t *testing.T) {
	const value = "pa/ss'w\"o\\rd+ %0123456789abcdef"
	random := rand.New(rand.NewPCG(9, 10))
	bulk := make([]byte, 20000)
	var text, want bytes.Buffer
	for range 20 {
		for _, encode := range []func(string) string{
			func(v string) string { return v }, goJSON, octal, backslashed, url.QueryEscape, url.PathEscape,
			func(v string) string { return strings.ReplaceAll(v, "'", `'\''`) },
			func(v string) string { return anyHex(random, v) },
			func(v string) string { return stdbase64.RawURLEncoding.EncodeToString([]byte(v)) },
		} {
			for i := range bulk {
				bulk[i] = byte(random.IntN(256))
			}
			text.Write(bulk)
			text.WriteString("--" + encode(value) + "--")
			want.Write(bulk)
			want.WriteString("--[redacted:A]--")
		}
	}
	var out bytes.Buffer
	r := NewRedactor(&out, matcher(t, value, "another-value-"+strings.Repeat("x", 100)))
	for rest := text.Bytes(); len(rest) > 0; {
		n := min(len(rest), 1+random.IntN(64<<10))
		if _, err := r.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), want.Bytes()) {
		t.Error("the stream differs from the expected one")
	}
}

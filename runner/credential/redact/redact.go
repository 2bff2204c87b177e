// Package redact takes secret values out of a stream of output: as they are,
// and as the usual tools encode them.
//
// It imports locked and the standard library. It never passes on a value, never
// keeps one in another place than a Matcher, whose Destroy wipes it, and never
// tells more of one in an error than its length.
//
// # What is found
//
// A value is found wherever one of these readings of the stream gives its
// exact bytes, at any offset and across any split of writes:
//
//   - the stream itself, where CRLF stands for a line end as well, since a
//     terminal writes it so;
//   - with backslash escapes undone, as JSON, C, Python and bash write them
//     (\" \\ \/ \n \t … \uXXXX \xHH \ooo; $'…' and printf %q);
//   - with the quotes undone that shells end and begin within single quotes;
//   - with percent escapes undone (RFC 3986), + being itself or a space;
//   - hexadecimal digits of either case;
//   - base64 of either alphabet (RFC 4648), the value beginning anywhere in
//     what was encoded.
//
// Which characters an encoder leaves alone makes no difference, except that
// letters and digits must be themselves in the escaped readings: no usual
// encoder escapes them. Hexadecimal and base64 may be wrapped in lines of at
// least 48 characters and indented by up to 16 blanks: base64(1) has 76, PEM
// 64, xxd -p 60.
//
// Of a value of several lines, be their ends newlines or \n as in JSON, each
// line of at least 16 bytes, 8 of them different, counts as a value in the first
// reading, blanks around it apart: half a key is a leak too. The lines that begin
// and end PEM (RFC 7468) do not count, nor shorter ones: they would occur by
// chance.
//
// # What is not
//
// Anything else: other encodings and compression, one encoding within
// another, dumps with offsets or blanks between the digits, a value that is
// cut, reversed or spread over several prints. Redaction guards against
// accidents, and against a model that is talked into echoing; a command that
// holds a credential can always give it away in disguise.
//
// # Bounds
//
// A Matcher takes at most 100 bytes for each byte of its values, and 320 KiB.
// What a Redactor holds back is at most 6 times the longest value, and 18 times
// its line ends. It keeps up to 180 bytes for each byte of what it follows of a
// value, and up to 24 for each byte of the longest write. Time is linear in the
// stream, whatever it holds.
//
// What is held back waits for the next output, or the end, however long that
// takes; but for what Lull lets go.
package redact

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
)

// MinValue is the length of the shortest value in bytes: a shorter one is
// likely to occur in output by chance, so redacting it would mangle the
// output and say where it stands.
const MinValue = 8

// The lines of a value that count by themselves have at least so many bytes,
// and so many different ones.
const (
	minLine     = 16
	minDistinct = 8
)

// Value is what is to be found, and the name that is written in its place.
type Value struct {
	Name  string
	Bytes []byte
}

// Matcher knows the values. It does not change once made, so any number of
// Redactors may share it. What it holds spells the values, one character in a
// node, until Destroy; that is in locked memory, but for up to 8 characters of
// how each way to write a value begins.
type Matcher struct {
	needles []needle
	trie    automaton
	filter  filter
	// first4 and first6 tell which upper bits a value's first byte may have;
	// special, whether it may be one that an encoder would escape.
	first4  uint16
	first6  uint64
	special bool
	quote   bool      // a value may begin with a single quote
	newline bool      // or with a line end
	spaces  bool      // a value has a space, which may have become +
	quotes  bool      // or a single quote
	lines   bool      // or several lines
	inert   [256]bool // characters that no value begins with
	loose   int       // how many characters of a value may pass in a lull
}

// needle is one sequence of bytes to find and what to put in its place.
type needle struct {
	value  []byte // while the matcher is made
	given  []byte // the same with the line ends that it was given with
	length int
	number int // of the value, or of that which it is a line of
	mark   []byte
	line   bool // a line of a value
}

// NewMatcher reads the values, and keeps no reference to them. Of two names
// with one value the first is written.
func NewMatcher(values []Value) (*Matcher, error) {
	m := &Matcher{}
	for _, v := range values {
		switch n := len(WithoutReturns(v.Bytes)); {
		case n < MinValue:
			return nil, fmt.Errorf("redact %s: the value has %d bytes; fewer than %d cannot be redacted", v.Name, n, MinValue)
		case bytes.IndexByte(v.Bytes, 0) >= 0:
			return nil, fmt.Errorf("redact %s: the value holds a NUL byte, which no environment variable can", v.Name)
		}
	}
	if len(values) == 0 {
		return m, nil
	}
	for i, v := range values {
		value, copied := unixLines(WithoutReturns(v.Bytes))
		if copied {
			defer clear(value)
		}
		m.add(needle{value: value, given: v.Bytes, number: i, mark: []byte("[redacted:" + v.Name + "]")})
	}
	for _, n := range m.needles { // after all values: the longer ones
		m.addLines(n)
	}
	m.safeMarks(len(values))
	m.noteLoose()
	if err := m.trie.build(m.needles); err != nil {
		return nil, fmt.Errorf("redact: %w", err)
	}
	m.noteFirst()
	m.filter.build(m.needles)
	for i := range m.needles {
		m.needles[i].value, m.needles[i].given = nil, nil
	}
	return m, nil
}

func (m *Matcher) add(n needle) {
	n.length = len(n.value)
	m.needles = append(m.needles, n)
}

// WithoutReturns is what is looked for of a value: carriage returns at its end
// are not told from those of a line end after it.
func WithoutReturns(value []byte) []byte { return bytes.TrimRight(value, "\r") }

// unixLines is a value with a bare newline for every line end, as streams are
// read; a copy, if it has others.
func unixLines(value []byte) (unix []byte, copied bool) {
	if !bytes.Contains(value, []byte("\r\n")) {
		return value, false
	}
	unix = make([]byte, 0, len(value))
	for i, c := range value {
		unix = append(unix, c)
		if c == '\n' {
			for n := 1; n <= maxReturns && i-n >= 0 && value[i-n] == '\r'; n++ {
				unix[len(unix)-2] = '\n'
				unix = unix[:len(unix)-1]
			}
		}
	}
	return unix, true
}

// addLines adds the lines of a value that count as values.
func (m *Matcher) addLines(whole needle) {
	for line := range bytes.SplitSeq(whole.value, []byte("\n")) {
		for part := range bytes.SplitSeq(line, []byte(`\n`)) {
			part = bytes.TrimSpace(part)
			if len(part) < len(whole.value) && counts(part) {
				m.add(needle{value: part, number: whole.number, mark: whole.mark, line: true})
			}
		}
	}
}

// counts says whether a line is a value by itself.
func counts(line []byte) bool {
	return len(line) >= minLine && distinct(line) >= minDistinct &&
		!bytes.HasPrefix(line, []byte("-----BEGIN ")) && !bytes.HasPrefix(line, []byte("-----END "))
}

// distinct counts the different bytes.
func distinct(b []byte) (n int) {
	var seen [256]bool
	for _, c := range b {
		if !seen[c] {
			seen[c] = true
			n++
		}
	}
	return n
}

// safeMarks replaces a mark that itself holds a value by one shorter than
// any.
func (m *Matcher) safeMarks(values int) {
	unsafe := make([]bool, values)
	for _, n := range m.needles[:values] {
		for _, other := range m.needles {
			unsafe[n.number] = unsafe[n.number] || bytes.Contains(n.mark, other.value)
		}
	}
	for i := range m.needles {
		if unsafe[m.needles[i].number] {
			m.needles[i].mark = []byte("[#]")
		}
	}
}

// What may pass of a value in a lull is at most an eighth of it, of the shortest
// there is, and fewer than 4 characters: of a value of 8 bytes the first leaves
// as many guesses as 7 do, and what tokens of one kind begin with (ghp_, sk-, AKIA)
// is known anyway.
const (
	loosePart = 8
	looseMost = 3
)

// noteLoose notes how much may pass.
func (m *Matcher) noteLoose() {
	m.loose = looseMost
	for _, n := range m.needles {
		m.loose = min(m.loose, n.length/loosePart)
	}
}

// noteFirst notes how values begin.
func (m *Matcher) noteFirst() {
	for _, n := range m.needles {
		first := n.value[0]
		if !n.line {
			m.first4 |= 1 << (first >> 4)
			m.first6 |= 1 << (first >> 2)
			m.special = m.special || !alphanumeric(first)
			m.spaces = m.spaces || bytes.IndexByte(n.value, ' ') >= 0
			m.quotes = m.quotes || bytes.IndexByte(n.value, '\'') >= 0
			m.lines = m.lines || bytes.ContainsAny(n.value, "\r\n")
		}
		m.quote = m.quote || first == '\''
		m.newline = m.newline || first == '\n' || first == '\r'
	}
	for c := range m.inert {
		m.inert[c] = m.trie.root[c] == 0 && !(m.lines && c == '\r')
	}
}

// errDestroyed refuses to pass output on when it can no longer be searched.
var errDestroyed = errors.New("redact output: the values are destroyed")

// Destroy wipes the values. Redactors that share the matcher must have ended;
// they fail afterwards.
func (m *Matcher) Destroy() {
	m.trie.destroy()
	m.filter.destroy()
	// So that the stores above are not optimised away as dead.
	runtime.KeepAlive(m)
}

func alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
)

// anchor is a text and how far before it the value may begin.
type anchor struct {
	text []byte
	lead int
	of   family
	made bool // not part of the value itself
}

const (
	// maxLead is how far into a value its anchor is looked for.
	maxLead = 48
	// longestByte is how long an escape is for each byte it stands for, and
	// longestEnd that of a line end, which may have carriage returns.
	longestByte = 6
	longestEnd  = longestByte * (1 + maxReturns)
	// margin is the end of a line with an indent, and the part of a group of
	// base64 that comes before a value.
	margin = 2 + maxIndent + 4
	// An anchor shorter than these is made longer by characters that may be
	// escaped, at the price of an anchor for each way: of one among a few values,
	// and of one among many.
	longAnchor, longEnough = 16, 8
	fewValues              = 8
	// maxEscaped is how many such characters there may be.
	maxEscaped = 3
)

// appendPlainest adds the anchors of a value as it is and with escapes: the
// longest run of letters and digits near its beginning, which no encoder
// escapes. Where all are short, as in a password, it is one with characters
// between that are escaped in every way.
func appendPlainest(anchors []anchor, value []byte, values int) []anchor {
	enough := longAnchor
	if values > fewValues {
		enough = longEnough
	}
	from, to, lead := longest(value, 0)
	if to-from >= min(enough, len(value)) {
		return append(anchors, anchor{text: value[from:to], lead: lead})
	}
	if from, to, lead = longest(value, maxEscaped-1); to-from < minWindow {
		from, to, lead = longest(value, maxEscaped)
	}
	for _, text := range written(value[from:to]) {
		anchors = append(anchors, anchor{text: text, lead: lead, made: true})
	}
	return anchors
}

// longest is the longest part near the beginning of a value that has at most
// escaped characters that may be escaped, and how much the value before it may
// become.
func longest(value []byte, escaped int) (from, to, lead int) {
	before := 0
	for i := range min(len(value), maxLead) {
		end, left := i, escaped
		for end < min(len(value), i+maxWindow) && (alphanumeric(value[end]) || left > 0 && simple(value[end])) {
			if !alphanumeric(value[end]) {
				left--
			}
			end++
		}
		if end-i > to-from {
			from, to, lead = i, end, before
		}
		switch {
		case alphanumeric(value[i]):
			before++
		case value[i] == '\n':
			before += longestEnd
		default:
			before += longestByte
		}
	}
	return from, to, lead
}

// simple says whether written knows all escapes of c.
func simple(c byte) bool { return c >= ' ' && c <= '~' && c != '\'' }

// written are the ways to write a text of which only simple characters are
// escaped.
func written(text []byte) [][]byte {
	const most = maxWindow + maxEscaped*longestByte // so that no copy is left behind
	ways := [][]byte{make([]byte, 0, most)}
	for _, c := range text {
		if alphanumeric(c) {
			for i := range ways {
				ways[i] = append(ways[i], c)
			}
			continue
		}
		var more [][]byte
		for _, way := range ways {
			for _, escape := range escapesFor(c) {
				more = append(more, append(append(make([]byte, 0, most), way...), escape...))
			}
			clear(way)
		}
		ways = more
	}
	return ways
}

// escapesFor are all ways to write a simple character.
func escapesFor(c byte) []string {
	ways := []string{string(rune(c)), `\` + string(rune(c)), fmt.Sprintf(`\u%04x`, c), fmt.Sprintf(`\x%02x`, c),
		fmt.Sprintf(`\%03o`, c), fmt.Sprintf("%%%02x", c)}
	if c < 0o100 {
		ways = append(ways, fmt.Sprintf(`\%o`, c))
	}
	if c == ' ' {
		ways = append(ways, "+")
	}
	return ways
}

// form is the beginning of a value in digits.
type form struct {
	text []byte
	of   family
}

// formBytes is how much of a value fills two windows.
const formBytes = maxWindow * 3 / 2

// appendForms adds the beginning of a value in hexadecimal and in base64: with
// the line ends that it was given with, and with each that it may be known by.
func appendForms(forms []form, n needle) []form {
	start := n.value[:min(len(n.value), formBytes)]
	forms = appendDigits(forms, start)
	if bytes.IndexByte(start, '\n') < 0 {
		return forms
	}
	forms = appendDigits(forms, n.given[:min(len(n.given), formBytes)])
	for _, end := range []string{"\r\n", "\r\r\n"} {
		other := bytes.ReplaceAll(start, []byte("\n"), []byte(end))
		forms = appendDigits(forms, other[:min(len(other), formBytes)])
		clear(other)
	}
	return forms
}

// appendDigits adds a text in hexadecimal and in base64, without the characters
// that it shares with what comes before or after it.
func appendDigits(forms []form, value []byte) []form {
	forms = append(forms, form{hex.AppendEncode(make([]byte, 0, 2*len(value)), value), asHex})
	var before [formBytes + 2]byte
	for n := range 3 {
		copy(before[n:], value)
		size := n + len(value)
		text := make([]byte, base64.RawStdEncoding.EncodedLen(size))
		base64.RawStdEncoding.Encode(text, before[:size])
		from, to := (8*n+5)/6, 8*size/6
		clear(text[:from])
		clear(text[to:])
		text = text[from:to]
		forms = append(forms, form{text, asBase64})
		if bytes.ContainsAny(text, "+/") {
			forms = append(forms, form{bytes.Map(urlSafe, text), asBase64})
		}
		clear(before[:])
	}
	return forms
}

// urlSafe is a digit in the other alphabet of base64.
func urlSafe(digit rune) rune {
	switch digit {
	case '+':
		return '-'
	case '/':
		return '_'
	}
	return digit
}

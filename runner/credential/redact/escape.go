package redact

import (
	"unicode/utf16"
	"unicode/utf8"
)

// longestEscape is that of a surrogate pair, \uD83D\uDE00; longer runs of
// quotes are read in parts.
const longestEscape = 12

// parser reads the beginning of b as one character or escape: what it takes
// and what that stands for, or, with taken 0, that it needs more to tell. It
// takes something of b when that is longestEscape long.
type parser func(b []byte) (taken int, text piece)

// piece is a short text. Its length is negative where it is none that a value
// can hold.
type piece struct {
	b [longestEscape]byte
	n int
}

func literal(c byte) piece { return piece{b: [longestEscape]byte{c}, n: 1} }

// unescaped is a character that an escape stood for. Letters and digits are
// never escaped, and the filter relies on that.
func unescaped(c byte) piece {
	if alphanumeric(c) {
		return piece{n: -1}
	}
	return literal(c)
}

// percent reads %HH.
func percent(b []byte) (int, piece) {
	if b[0] != '%' {
		return 1, literal(b[0])
	}
	for _, c := range b[1:min(len(b), 3)] {
		if hexDigit(c) < 0 {
			return 1, literal('%')
		}
	}
	if len(b) < 3 {
		return 0, piece{}
	}
	return 3, unescaped(byte(hexDigit(b[1])<<4 | hexDigit(b[2])))
}

// formEncoded reads what percent does, and + as a space (application/
// x-www-form-urlencoded).
func formEncoded(b []byte) (int, piece) {
	if b[0] == '+' {
		return 1, literal(' ')
	}
	return percent(b)
}

// backslash reads the escapes of JSON, C, Python and bash, and what quoted
// does.
func backslash(b []byte) (int, piece) {
	if b[0] == '\\' {
		return afterBackslash(b)
	}
	return quoted(b)
}

// control are the letters that stand for control characters (C; \e and \E:
// bash).
var control = map[byte]byte{'a': 7, 'b': 8, 't': '\t', 'n': '\n', 'v': 11, 'f': 12, 'r': '\r', 'e': 27, 'E': 27}

func afterBackslash(b []byte) (int, piece) {
	if len(b) == 1 {
		return 0, piece{}
	}
	switch c := b[1]; {
	case c == 'u':
		return unicodeEscape(b)
	case c == 'U':
		return longUnicodeEscape(b)
	case c == 'x':
		value, more := number(b[2:], 2, 16)
		switch {
		case more:
			return 0, piece{}
		case value < 0:
			return 1, literal('\\')
		}
		return 4, unescaped(byte(value))
	case '0' <= c && c <= '7':
		return octalEscape(b)
	case control[c] != 0:
		return 2, literal(control[c])
	case alphanumeric(c):
		return 1, literal('\\')
	case c >= utf8.RuneSelf:
		return 1, literal('\\')
	default:
		return 2, literal(c)
	}
}

// number reads exactly digits digits; -1: they are none.
func number(b []byte, digits int, base int) (value int, more bool) {
	for i := range digits {
		if i == len(b) {
			return 0, true
		}
		digit := hexDigit(b[i])
		if digit < 0 || digit >= base {
			return -1, false
		}
		value = value*base + digit
	}
	return value, false
}

// octalEscape reads \o, \oo and \ooo.
func octalEscape(b []byte) (int, piece) {
	value, i := 0, 1
	for ; i < 4; i++ {
		if i == len(b) {
			return 0, piece{}
		}
		if b[i] < '0' || b[i] > '7' {
			break
		}
		value = value<<3 | int(b[i]-'0')
	}
	if value > 0xff {
		return 1, literal('\\')
	}
	return i, unescaped(byte(value))
}

// unicodeEscape reads \uXXXX, two of them for what UTF-16 has as two, and
// \udcXX, as Python has a byte that is not UTF-8 (PEP 383).
func unicodeEscape(b []byte) (int, piece) {
	value, more := number(b[2:], 4, 16)
	switch {
	case more:
		return 0, piece{}
	case value < 0:
		return 1, literal('\\')
	case value < utf8.RuneSelf:
		return 6, unescaped(byte(value))
	case value > 0xdc7f && value < 0xdd00:
		return 6, literal(byte(value))
	}
	taken := 6
	if utf16.IsSurrogate(rune(value)) {
		low, more := secondHalf(b[6:])
		if more {
			return 0, piece{}
		}
		value, taken = int(utf16.DecodeRune(rune(value), rune(low))), 12
		if value == utf8.RuneError {
			return 6, piece{n: -1}
		}
	}
	var text piece
	text.n = utf8.EncodeRune(text.b[:], rune(value))
	return taken, text
}

// longUnicodeEscape reads \UXXXXXXXX, which C and Python write where \u does not
// do.
func longUnicodeEscape(b []byte) (int, piece) {
	value, more := number(b[2:], 8, 16)
	switch {
	case more:
		return 0, piece{}
	case value < 0x10000 || value > utf8.MaxRune:
		return 1, literal('\\')
	}
	var text piece
	text.n = utf8.EncodeRune(text.b[:], rune(value))
	return 10, text
}

// secondHalf reads the \uXXXX after another.
func secondHalf(b []byte) (value int, more bool) {
	for i, c := range []byte(`\u`) {
		if i == len(b) {
			return 0, true
		}
		if b[i] != c {
			return -1, false
		}
	}
	return number(b[2:], 4, 16)
}

// quoted reads what shells make of a single quote within single quotes, where
// a backslash is itself:
//
//	'\''     bash
//	'"'"'    Python's shlex; dash puts several between the double quotes
func quoted(b []byte) (int, piece) {
	switch {
	case b[0] != '\'':
		return 1, literal(b[0])
	case len(b) == 1:
		return 0, piece{}
	case b[1] == '\\':
		switch {
		case len(b) > 2 && b[2] != '\'', len(b) > 3 && b[3] != '\'':
			return 1, literal('\'')
		case len(b) < 4:
			return 0, piece{}
		}
		return 4, literal('\'')
	case b[1] != '"':
		return 1, literal('\'')
	}
	return afterQuotes(b)
}

// afterQuotes reads '"'"' and its like from their first two characters on.
func afterQuotes(b []byte) (int, piece) {
	text := piece{}
	i := 2
	for ; i < len(b) && b[i] == '\''; i++ {
		text.b[text.n] = '\''
		text.n++
	}
	switch {
	case i == 2 && len(b) > 2, i < len(b) && b[i] != '"', i+1 < len(b) && b[i+1] != '\'':
		return 1, literal('\'')
	case i+1 < len(b):
		return i + 2, text
	case len(b) == longestEscape:
		return 1, literal('\'')
	}
	return 0, piece{}
}

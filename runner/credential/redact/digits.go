package redact

import "bytes"

// Digits may be wrapped in lines of at least minWidth characters and an indent
// of at most maxIndent blanks.
const (
	minWidth  = 60
	maxIndent = 16
)

// digits follows what hexadecimal and base64 have in common.
type digits struct {
	readers []tracker
	count   uint // digits since the beginning
	// previous is the last of them, at last.
	previous int
	last     int64
	line     int64 // where the current line began, behind its indent, or before
	blanks   int   // how many more there may be in the indent

	// Between two digits: whether a carriage return or the end of a line, and
	// how much of an indent, was read.
	cr, open bool
	indent   int
}

// skip says whether c, which is at pos, belongs to the end of a full line or to
// the indent of the next.
func (d *digits) skip(c byte, pos int64) bool {
	full := pos-d.line >= minWidth
	switch {
	case c == '\n' && (d.cr || !d.open && full):
		d.cr, d.open, d.indent = false, true, 0
	case c == '\r' && !d.cr && !d.open && full:
		d.cr = true
	case d.open && (c == ' ' || c == '\t') && d.indent < maxIndent:
		d.indent++
	default:
		return false
	}
	return true
}

// other takes in a character that is no digit.
func (d *digits) other(c byte, pos int64) {
	if d.count > 0 && !d.skip(c, pos) {
		d.reset()
	}
	switch {
	case c == '\n':
		d.line, d.blanks = pos+1, maxIndent
	case pos == d.line && d.blanks > 0 && (c == ' ' || c == '\t'):
		d.line++
		d.blanks--
	}
}

// resume is called before a digit that comes after a line end.
func (d *digits) resume() {
	if d.cr {
		d.reset()
	}
	d.open = false
}

func (d *digits) reset() {
	d.count, d.cr, d.open = 0, false, false
	for i := range d.readers {
		d.readers[i].forget()
	}
}

func (d *digits) end(*Redactor) { d.reset() }

func (d *digits) jump(r *Redactor, from, to int) int {
	d.reset()
	at, near := from, max(from, to-minWidth-maxIndent)
	if newline := bytes.LastIndexByte(r.p[near:to], '\n'); newline >= 0 {
		at = near + newline
	}
	for ; at < to && (r.p[at] == '\n' || r.base+int64(at) == d.line); at++ {
		d.other(r.p[at], r.base+int64(at))
	}
	return to
}

func (d *digits) trackers() []tracker { return d.readers }

// hexadecimal reads digits in pairs, of which each digit may begin one.
type hexadecimal struct{ digits }

func newHexadecimal() hexadecimal {
	return hexadecimal{digits{readers: make([]tracker, 2)}}
}

func (h *hexadecimal) read(r *Redactor, from, until int) int {
	for i := from; i < len(r.p); i++ {
		if i >= until && idle(h.readers) && !h.begins(r.matcher) {
			return i
		}
		pos, digit := r.base+int64(i), int(nibbles[r.p[i]])
		if digit < 0 {
			h.other(r.p[i], pos)
			continue
		}
		if h.open || h.cr {
			h.resume()
		}
		if h.count > 0 {
			h.readers[h.count&1].feed(r, byte(h.previous<<4|digit), h.last, pos+1)
		}
		h.previous, h.last = digit, pos
		h.count++
	}
	return len(r.p)
}

// begins says whether the last digit may be the first of a value.
func (h *hexadecimal) begins(m *Matcher) bool {
	return h.count > 0 && m.first4>>h.previous&1 != 0
}

// from counts the last digit, with which no byte may be whole, as a character.
func (h *hexadecimal) from(m *Matcher, before int64, loose int) int64 {
	if loose == 0 && h.begins(m) {
		before = min(before, h.last)
	}
	return earliest(m, h.readers, before, max(0, loose-1))
}

// radix64 reads base64 digits in groups of four, of which each digit may begin
// one.
type radix64 struct{ digits }

func newRadix64() radix64 {
	return radix64{digits{readers: make([]tracker, 4)}}
}

func (b *radix64) read(r *Redactor, from, until int) int {
	for i := from; i < len(r.p); i++ {
		if i >= until && idle(b.readers) && !b.begins(r.matcher) {
			return i
		}
		pos, digit := r.base+int64(i), int(sextets[r.p[i]])
		if digit < 0 {
			b.other(r.p[i], pos)
			continue
		}
		if b.open || b.cr {
			b.resume()
		}
		if b.count > 0 {
			both := b.previous<<6 | digit
			// The digit is the second of one group, the third of another, the fourth
			// of a third. Of a byte that it ends, the one before has 6, 4 or 2 bits.
			// At the beginning of a value only the 6 are worth hiding: to wait at
			// each digit that may have 4 would delay every fourth letter typed.
			b.readers[(b.count-1)&3].feed(r, byte(both>>4), b.last, pos+1)
			b.readers[(b.count-2)&3].feed(r, byte(both>>2), pos, pos+1)
			b.readers[(b.count-3)&3].feed(r, byte(both), pos, pos+1)
		}
		b.previous, b.last = digit, pos
		b.count++
	}
	return len(r.p)
}

// begins says whether the last digit may be the first of a value.
func (b *radix64) begins(m *Matcher) bool {
	return b.count > 0 && m.first6>>b.previous&1 != 0
}

// from counts the last digit, with which no byte may be whole, as a character.
func (b *radix64) from(m *Matcher, before int64, loose int) int64 {
	if loose == 0 && b.begins(m) {
		before = min(before, b.last)
	}
	return earliest(m, b.readers, before, max(0, loose-1))
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// sextets are the values of the digits of either alphabet (RFC 4648); -1: it is
// none.
var sextets = func() (of [256]int8) {
	for c := range of {
		of[c] = -1
	}
	for i, c := range []byte(alphabet) {
		of[c] = int8(i)
	}
	of['+'], of['-'], of['/'], of['_'] = 62, 62, 63, 63
	return of
}()

var nibbles = func() (of [256]int8) {
	for c := range of {
		of[c] = -1
	}
	for i, c := range []byte("0123456789abcdef") {
		of[c] = int8(i)
	}
	for i, c := range []byte("ABCDEF") {
		of[c] = int8(10 + i)
	}
	return of
}()

// hexDigit is the value of a hexadecimal digit; -1: it is none.
func hexDigit(c byte) int { return int(nibbles[c]) }

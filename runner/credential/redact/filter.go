package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
)

// filter finds the places in a stream where a value cannot be excluded, after
// Wu and Manber (TR-94-17). For each way to write a value it knows an anchor:
// characters that are in it however it is written that way, and follow each
// other without a gap. It skips what holds no anchor.
//
// Letter case is ignored throughout, since hexadecimal digits are of either.
type filter struct {
	// window is how much of each anchor is looked at; 0: a value has none, so
	// nothing can be excluded.
	window int
	// reach is, for each family, how far before its anchor a value may begin.
	reach [families]int
	skip  []uint8 // by hash of 3 characters: how far the window can move
	// heads is a hash table of how anchors begin, and mask covers as much of
	// that as is in a window.
	heads []head
	mask  uint64
}

// family are readings that go together.
type family uint8

const (
	asText family = iota
	asHex
	asBase64
	families
)

// head is how anchors of some families begin; a free one has none.
type head struct {
	text uint64
	of   [families]bool
}

// hit is a place in a write where an anchor of some families seems to be.
type hit struct {
	at int
	of *[families]bool
}

const (
	// maxWindow is half of minWidth: of two windows that touch, one at most
	// has the end of a line in it.
	maxWindow = minWidth / 2
	minWindow = 3 // what the hash takes
	// maxLead is how far into a value its anchor is looked for.
	maxLead = 48
	// longestByte is how long an escape is for each byte it stands for.
	longestByte = 6
	// margin is the end of a line with an indent, and the part of a group of
	// base64 that comes before a value.
	margin = 2 + maxIndent + 4
	// slack is how much behind the beginning of a window is read at once.
	slack = 8

	skipBits  = 14
	skipShift = 9
	lower     = 0x2020202020202020 // the bits that tell the case of letters
)

// anchor is a text and how far before it the value may begin.
type anchor struct {
	text []byte
	lead int
	of   family
}

// form is the beginning of a value in digits.
type form struct {
	text []byte
	of   family
}

func (f *filter) build(needles []needle) {
	anchors := make([]anchor, 0, 8*len(needles))
	forms := make([]form, 0, 4*len(needles))
	for _, n := range needles {
		if n.line { // looked for as it is only
			anchors = append(anchors, anchor{text: n.value})
			continue
		}
		anchors = append(anchors, plainest(n.value))
		forms = appendForms(forms, n.value)
	}
	f.window = maxWindow
	for _, a := range anchors {
		f.window = min(f.window, len(a.text))
	}
	for _, form := range forms {
		f.window = min(f.window, len(form.text)/2)
	}
	if f.window < minWindow {
		f.window = 0
	} else {
		for _, form := range forms {
			anchors = append(anchors, anchor{form.text, margin, form.of}, anchor{form.text[f.window:], f.window + margin, form.of})
		}
		f.fill(anchors)
	}
	for _, form := range forms {
		clear(form.text)
	}
}

// plainest is the longest run of letters and digits near the beginning of a
// value: no encoder escapes those.
func plainest(value []byte) (best anchor) {
	lead := 0
	for i := 0; i <= min(maxLead, len(value)-1) && len(best.text) < maxWindow; {
		from := i
		for i < len(value) && i-from < maxWindow && alphanumeric(value[i]) {
			i++
		}
		if i-from > len(best.text) {
			best = anchor{text: value[from:i], lead: lead}
		}
		lead += i - from
		for i < len(value) && !alphanumeric(value[i]) {
			lead += longestByte
			i++
		}
	}
	return best
}

// appendForms adds the beginning of a value in hexadecimal and in base64,
// without the characters that it shares with what comes before or after it.
func appendForms(forms []form, value []byte) []form {
	value = value[:min(len(value), maxWindow*3/2)]
	forms = append(forms, form{hex.AppendEncode(make([]byte, 0, 2*len(value)), value), asHex})
	var before [maxWindow*3/2 + 2]byte
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

// fill enters the anchors into the tables.
func (f *filter) fill(anchors []anchor) {
	f.skip = bytes.Repeat([]byte{uint8(f.window - minWindow + 1)}, 1<<skipBits)
	size := 4
	for size < 2*len(anchors) {
		size *= 2
	}
	f.heads = make([]head, size)
	f.mask = ^uint64(0) >> (64 - 8*min(f.window, 8))
	for _, a := range anchors {
		f.reach[a.of] = max(f.reach[a.of], a.lead)
		var text [maxWindow + slack]byte
		copy(text[:], a.text[:f.window])
		last := f.window - minWindow
		for i := range last + 1 {
			slot := &f.skip[hash(binary.LittleEndian.Uint32(text[i:]))]
			*slot = min(*slot, uint8(last-i))
		}
		h := f.head(binary.LittleEndian.Uint64(text[:]))
		h.text = (binary.LittleEndian.Uint64(text[:]) | lower) & f.mask
		h.of[a.of] = true
		clear(text[:])
	}
}

// hash takes the lower 3 of 4 bytes.
func hash(four uint32) int {
	four = (four | lower&0xffffffff) << 8
	return int((four ^ four<<skipShift) >> (32 - skipBits))
}

// head is where one that begins like eight stands in the table; a free place,
// if there is none.
func (f *filter) head(eight uint64) *head {
	eight = (eight | lower) & f.mask
	at := int(eight * 0x9e3779b97f4a7c15 >> 32)
	for {
		h := &f.heads[at&(len(f.heads)-1)]
		if h.text == 0 || h.text == eight {
			return h
		}
		at++
	}
}

// tail is how much of the end of a write a family cannot skip: what begins
// there may have its anchor in the next.
func (f *filter) tail(of family) int { return f.reach[of] + f.window + slack }

// search adds the places in p where an anchor seems to be, first to last. It
// goes through both halves of p at once, since each step in one waits for what
// memory says of the last.
func (f *filter) search(p []byte, hits *[2][]hit) {
	hits[0], hits[1] = hits[0][:0], hits[1][:0]
	if f.window == 0 {
		return
	}
	skips := f.skip
	at := f.window - minWindow        // where the last 3 characters of a window are
	end := len(p) - slack - minWindow // where they may be
	half := max(at, end/2)
	first, second := at, half
	for first < half && second <= end {
		skip1 := skips[hash(binary.LittleEndian.Uint32(p[first:]))]
		skip2 := skips[hash(binary.LittleEndian.Uint32(p[second:]))]
		if skip1 == 0 {
			f.check(p, first-at, &hits[0])
			skip1 = 1
		}
		if skip2 == 0 {
			f.check(p, second-at, &hits[1])
			skip2 = 1
		}
		first += int(skip1)
		second += int(skip2)
	}
	f.searchOn(p, first, half-1, &hits[0])
	f.searchOn(p, second, end, &hits[1])
}

// searchOn goes on from one place to another.
func (f *filter) searchOn(p []byte, from, to int, hits *[]hit) {
	for from <= to {
		skip := f.skip[hash(binary.LittleEndian.Uint32(p[from:]))]
		if skip == 0 {
			f.check(p, from-f.window+minWindow, hits)
			skip = 1
		}
		from += int(skip)
	}
}

// check adds a place if the window there begins as an anchor does.
func (f *filter) check(p []byte, at int, hits *[]hit) {
	if h := f.head(binary.LittleEndian.Uint64(p[at:])); h.text != 0 {
		*hits = append(*hits, hit{at, &h.of})
	}
}

func (f *filter) destroy() {
	clear(f.skip)
	clear(f.heads)
}

package redact

import (
	"bytes"
	"encoding/binary"
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
	// skip is by hash of 3 characters how far the window can move; shift makes
	// the hash as short as the table is.
	skip  []uint8
	shift uint8
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
	// slack is how much behind the beginning of a window is read at once.
	slack = 8

	// The table of skips is sparse times as large as what is entered, within
	// bounds of bits.
	sparse           = 16
	fewBits, maxBits = 12, 18

	lower = 0x2020202020202020 // the bits that tell the case of letters
)

func (f *filter) build(needles []needle) {
	var anchors []anchor
	var forms []form
	values := 0
	for _, n := range needles {
		values = max(values, n.number+1)
	}
	for _, n := range needles {
		if n.line { // looked for as it is only
			anchors = append(anchors, anchor{text: n.value})
			continue
		}
		anchors = appendPlainest(anchors, n.value, values)
		forms = appendForms(forms, n)
	}
	f.window = maxWindow
	for _, a := range anchors {
		f.window = min(f.window, len(a.text))
	}
	for _, form := range forms {
		f.window = min(f.window, len(form.text)/2)
	}
	for _, form := range forms {
		anchors = append(anchors, anchor{form.text, margin, form.of, true},
			anchor{form.text[min(f.window, len(form.text)):], f.window + margin, form.of, true})
	}
	if f.window < minWindow {
		f.window = 0
	} else {
		f.fill(anchors)
	}
	for _, a := range anchors {
		if a.made {
			clear(a.text)
		}
	}
}

// fill enters the anchors into the tables.
func (f *filter) fill(anchors []anchor) {
	bits := fewBits
	for bits < maxBits && 1<<bits < sparse*len(anchors)*(f.window-minWindow+1) {
		bits++
	}
	f.shift = uint8(32 - bits)
	f.skip = bytes.Repeat([]byte{uint8(f.window - minWindow + 1)}, 1<<bits)
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
			slot := &f.skip[hash(binary.LittleEndian.Uint32(text[i:]), f.shift)]
			*slot = min(*slot, uint8(last-i))
		}
		h := f.head(binary.LittleEndian.Uint64(text[:]))
		h.text = (binary.LittleEndian.Uint64(text[:]) | lower) & f.mask
		h.of[a.of] = true
		clear(text[:])
	}
}

// hash takes the lower 3 of 4 bytes.
func hash(four uint32, shift uint8) int {
	return int((four | lower&0xffffffff) << 8 * 2654435761 >> (shift & 31))
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
	skips, shift := f.skip, f.shift
	at := f.window - minWindow        // where the last 3 characters of a window are
	end := len(p) - slack - minWindow // where they may be
	half := max(at, end/2)
	first, second := at, half
	for first < half && second <= end {
		skip1 := skips[hash(binary.LittleEndian.Uint32(p[first:]), shift)]
		skip2 := skips[hash(binary.LittleEndian.Uint32(p[second:]), shift)]
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
		skip := f.skip[hash(binary.LittleEndian.Uint32(p[from:]), f.shift)]
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

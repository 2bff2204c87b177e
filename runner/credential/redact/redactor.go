package redact

import (
	"cmp"
	"io"
	"math"
	"slices"
)

// Marks and short pieces are gathered up to this many bytes before they are
// written on.
const gather = 16 << 10

// Redactor copies a stream to a writer with a mark, "[redacted:NAME]", in
// place of every value. Every byte that belongs to an occurrence of a value
// is hidden, but for the first 4 bits of one in base64.
// Occurrences that overlap are hidden together, behind the mark of the
// leftmost, and among those the longest. All other bytes pass unchanged, and
// what comes out does not depend on how the stream was split.
//
// It holds back only what may yet become a value: an end of the stream that
// is, in one of the readings, a proper prefix of one. So a prompt without a
// newline appears at once, but for a last character that happens to be such a
// prefix, which appears with Lull. What is longer comes out with Close, or when
// what follows shows that it was none.
//
// A Redactor serves one stream and one goroutine.
type Redactor struct {
	w       io.Writer
	matcher *Matcher
	err     error // the first; nothing is written after it

	text   text
	hex    hexadecimal
	base64 radix64

	// Positions count from the start of the stream. Bytes before done have
	// been written or hidden.
	done    int64
	hidden  int64    // the end of the last occurrence whose mark was written
	pending []region // found, sorted, apart; not before done, but for what a lull let go
	base    int64    // where the current write begins
	p       []byte   // the current write
	held    []byte   // what was held back before it, a part of memory
	memory  []byte
	out     []byte   // gathered
	hits    [2][]hit // in the halves of the current write
	fresh   []region // found in it
	bitten  bool     // what a lull let go was a value's beginning
}

// reading is one family of readings.
type reading interface {
	// read reads the current write from one place on, and returns the first
	// place from until on at which it follows nothing.
	read(r *Redactor, from, until int) int
	// jump passes over what cannot matter, from where it follows nothing, and
	// returns how far it could.
	jump(r *Redactor, from, to int) int
	// from is where the earliest of what may yet become a value begins, or
	// before, if that is earlier. What has at most loose characters of the value
	// does not count.
	from(m *Matcher, before int64, loose int) int64
	// end reads the end of the stream.
	end(r *Redactor)
	trackers() []tracker
}

// region is one or more overlapping occurrences of needles.
type region struct {
	start, end int64
	needle     uint32 // of the leftmost and longest, which ends at label
	label      int64
}

// NewRedactor returns a Redactor that writes to w.
func NewRedactor(w io.Writer, m *Matcher) *Redactor {
	return &Redactor{w: w, matcher: m, text: newText(m), hex: newHexadecimal(), base64: newRadix64()}
}

// readings are in the order of families.
func (r *Redactor) readings() [families]reading { return [families]reading{&r.text, &r.hex, &r.base64} }

// Write redacts p and writes on what can be. On an error of the writer it
// returns that, now and ever after; how much of p was written on is not
// known.
func (r *Redactor) Write(p []byte) (int, error) {
	if r.failed() {
		return 0, r.err
	}
	if len(r.matcher.needles) == 0 {
		n, err := r.w.Write(p)
		r.err = err
		return n, err
	}
	r.p = p
	r.scan()
	end := r.base + int64(len(p))
	r.finish(r.from(end, 0), end)
	if r.err != nil {
		return 0, r.err
	}
	return len(p), nil
}

// Holds says whether anything is held back.
func (r *Redactor) Holds() bool { return len(r.held) > 0 }

// Lull lets go what is held back and is hardly anything of a value: at most 3
// characters, and an eighth of the shortest value. It is called when the stream
// has been still for a while, as it is behind a prompt. Should the rest of the
// value follow, that is hidden all the same; and then no Lull of this stream
// lets go any more, so that whoever writes values slowly shows one such
// beginning, however often. What may belong to an occurrence that was found is
// left to be hidden with it.
func (r *Redactor) Lull() error {
	if r.failed() || r.bitten || !r.Holds() || len(r.pending) > 0 || r.done < r.hidden {
		return r.err
	}
	r.finish(r.from(r.base, r.matcher.loose), r.base)
	return r.err
}

// Close ends a stream that has come to its own end: what was held back is
// not a value after all and is written. The writer is not closed. It may be
// called again, to no effect.
func (r *Redactor) Close() error { return r.conclude(false) }

// Cut ends a stream that was broken off (a kill, a limit): what was held back
// may be most of a value, so from the length on that a value must have, a
// mark is written in its place.
func (r *Redactor) Cut() error { return r.conclude(true) }

func (r *Redactor) conclude(cut bool) error {
	if r.failed() || len(r.matcher.needles) == 0 {
		return r.err
	}
	for _, reading := range r.readings() {
		if cut {
			r.hideBeginnings(reading.trackers())
		}
		reading.end(r)
	}
	r.finish(r.base, r.base)
	return r.err
}

// hideBeginnings marks what is followed from MinValue on.
func (r *Redactor) hideBeginnings(trackers []tracker) {
	for _, t := range trackers {
		if at := r.matcher.trie.nodes[t.state]; at.depth >= MinValue {
			r.found(t.back(int(at.depth)), r.base, at.needle)
		}
	}
}

func (r *Redactor) failed() bool {
	if r.err == nil && r.matcher.trie.nodes == nil && len(r.matcher.needles) > 0 {
		r.err = errDestroyed
	}
	return r.err != nil
}

// finish writes all before from, keeps what is between it and end, and takes
// leave of the current write.
func (r *Redactor) finish(from, end int64) {
	slices.SortFunc(r.fresh, func(a, b region) int { return cmp.Compare(a.start, b.start) })
	for _, found := range r.fresh {
		r.add(found)
	}
	r.fresh = r.fresh[:0]
	r.advance(from)
	r.flush()
	before := len(r.held)
	kept := int(end - r.done)
	earlier := max(0, kept-len(r.p)) // of what is kept, that was held before
	clear(r.held[:before-earlier])
	r.held = r.held[before-earlier:]
	r.hold(r.p[len(r.p)-(kept-earlier):])
	r.base, r.p = end, nil
}

// hold adds to what is held back. Room is made by moving it to the front of
// its memory, or to memory twice as large as is needed, so rarely that it costs
// little for each byte; no copy is left behind.
func (r *Redactor) hold(more []byte) {
	size := len(r.held) + len(more)
	if size > cap(r.held) || len(r.held) == 0 {
		old, memory := r.held, r.memory
		if 2*size > len(memory) && size > cap(old) {
			memory = make([]byte, 2*size)
		}
		n := copy(memory, old)
		switch {
		case n == 0: // what was there has been cleared
		case len(memory) == len(r.memory):
			clear(memory[n:])
		default:
			clear(old)
		}
		r.held, r.memory = memory[:n], memory
	}
	r.held = append(r.held, more...)
}

// scan runs the readings over the write, past what the filter excludes.
func (r *Redactor) scan() {
	r.matcher.filter.search(r.p, &r.hits)
	for of, reading := range r.readings() {
		r.scanAs(family(of), reading)
	}
}

func (r *Redactor) scanAs(of family, reading reading) {
	f := &r.matcher.filter
	last := len(r.p) - f.tail(of) // what begins later may have its anchor in the next write
	if f.window == 0 {
		last = 0
	}
	i := reading.read(r, 0, 0)
	for _, hits := range r.hits {
		for _, hit := range hits {
			if hit.at < i || !hit.of[of] {
				continue
			}
			if to := min(last, hit.at-f.reach[of]); to > i {
				i = reading.jump(r, i, to)
			}
			i = reading.read(r, i, hit.at+1)
		}
	}
	if last > i {
		i = reading.jump(r, i, last)
	}
	reading.read(r, i, len(r.p))
}

// from is where the earliest of what may yet become a value begins; pos, if
// nothing does.
func (r *Redactor) from(pos int64, loose int) int64 {
	for _, reading := range r.readings() {
		pos = reading.from(r.matcher, pos, loose)
	}
	return pos
}

// found notes an occurrence.
func (r *Redactor) found(start, end int64, needle uint32) {
	r.fresh = append(r.fresh, region{start: start, end: end, needle: needle, label: end})
}

// add joins an occurrence with those it overlaps.
func (r *Redactor) add(found region) {
	to := len(r.pending)
	for to > 0 && r.pending[to-1].start >= found.end {
		to--
	}
	from := to
	for ; from > 0 && r.pending[from-1].end > found.start; from-- {
		other := r.pending[from-1]
		if other.start < found.start || other.start == found.start && r.longer(other, found) {
			found.start, found.needle, found.label = other.start, other.needle, other.label
		}
		found.end = max(found.end, other.end)
	}
	if from == to {
		r.pending = append(r.pending, region{})
		copy(r.pending[to+1:], r.pending[to:])
	} else {
		r.pending = append(r.pending[:from+1], r.pending[to:]...)
	}
	r.pending[from] = found
}

// longer says which of two that start together gives its mark.
func (r *Redactor) longer(a, b region) bool {
	if a.label != b.label {
		return a.label > b.label
	}
	return r.matcher.needles[a.needle].number < r.matcher.needles[b.needle].number
}

// advance decides about all bytes before limit: no occurrence that is still
// to come can reach them, but with characters that a lull may let go.
func (r *Redactor) advance(limit int64) {
	taken := 0
	for r.done < limit {
		next := region{start: math.MaxInt64}
		if taken < len(r.pending) {
			next = r.pending[taken]
		}
		switch {
		case next.start < r.hidden && r.done <= r.hidden: // overlaps what is hidden already
			r.hidden = max(r.hidden, next.end)
			taken++
		case r.done < r.hidden:
			r.done = min(r.hidden, limit)
		case next.start < limit:
			from := max(r.done, next.start)
			r.bitten = r.bitten || from > next.start
			r.pass(r.done, from)
			r.emit(r.matcher.needles[next.needle].mark)
			r.done, r.hidden = from, next.end
			taken++
		default:
			r.pass(r.done, limit)
			r.done = limit
		}
	}
	if taken > 0 {
		r.pending = append(r.pending[:0], r.pending[taken:]...)
	}
}

// pass writes the bytes from one position to another unchanged.
func (r *Redactor) pass(from, to int64) {
	if from < r.base {
		first := r.base - int64(len(r.held))
		r.emit(r.held[from-first : min(to, r.base)-first])
		from = r.base
	}
	if from < to {
		r.emit(r.p[from-r.base : to-r.base])
	}
}

// emit writes b, gathered with its neighbours if it is short.
func (r *Redactor) emit(b []byte) {
	if len(r.out)+len(b) > gather {
		r.flush()
	}
	if len(b) > gather {
		r.send(b)
		return
	}
	r.out = append(r.out, b...)
}

// flush writes what was gathered.
func (r *Redactor) flush() {
	r.send(r.out)
	r.out = r.out[:0]
}

// send writes b unless a write has failed before.
func (r *Redactor) send(b []byte) {
	if r.err != nil || len(b) == 0 {
		return
	}
	n, err := r.w.Write(b)
	if err == nil && n != len(b) {
		err = io.ErrShortWrite
	}
	r.err = err
}

package credential

import "io"

// Marks and short pieces are gathered up to this many bytes before they are
// written on.
const gather = 16 << 10

// Redactor copies a stream to a writer with a mark, "[redacted:ENV]", in
// place of every value. Every byte that belongs to an occurrence of a value
// is hidden; occurrences that overlap are hidden together, behind the mark of
// the leftmost, and among those the longest. All other bytes pass unchanged.
//
// It holds back only what may yet become a value: the longest end of the
// stream that is a proper prefix of one. So a prompt without a newline
// appears at once. There is no flush after idle time: it would let a value
// through that is written slowly. What is held back comes out with Close.
//
// A Redactor serves one stream and one goroutine.
type Redactor struct {
	w       io.Writer
	matcher *Matcher
	state   uint32
	err     error // the first; nothing is written after it

	// Positions count from the start of the current write; those before it
	// are negative. Bytes before done have been written or hidden.
	done    int
	hidden  int      // the end of the last occurrence whose mark was written
	pending []region // found, sorted, apart; not before done
	p       []byte   // the current write
	earlier []byte   // what was held back before it: a prefix of a needle
	out     []byte   // gathered
}

// region is one or more overlapping occurrences of needles.
type region struct {
	start, end int
	needle     uint32
}

// NewRedactor returns a Redactor that writes to w.
func NewRedactor(w io.Writer, m *Matcher) *Redactor { return &Redactor{w: w, matcher: m} }

// Write redacts p and writes on what can be. On an error of the writer it
// returns that, now and ever after; how much of p was written on is not
// known.
func (r *Redactor) Write(p []byte) (int, error) {
	if r.err == nil && r.matcher.nodes == nil {
		r.err = errDestroyed
	}
	if r.err != nil {
		return 0, r.err
	}
	if len(r.matcher.needles) == 0 {
		n, err := r.w.Write(p)
		r.err = err
		return n, err
	}
	r.begin(p)
	r.scan()
	r.end()
	if r.err != nil {
		return 0, r.err
	}
	return len(p), nil
}

// Close ends a stream that has come to its own end: what was held back is
// not a value after all and is written. The writer is not closed. It may be
// called again, to no effect.
func (r *Redactor) Close() error { return r.finish(false) }

// Cut ends a stream that was broken off (a kill, a limit): what was held back
// may be most of a value, so from the length on that a value must have, a
// mark is written in its place.
func (r *Redactor) Cut() error { return r.finish(true) }

func (r *Redactor) finish(cut bool) error {
	if r.err == nil && r.matcher.nodes == nil {
		r.err = errDestroyed
	}
	if r.err != nil {
		return r.err
	}
	r.begin(nil)
	if node := r.matcher.nodes[r.state]; cut && node.depth >= MinValue {
		r.add(region{start: -int(node.depth), end: 0, needle: node.needle})
	}
	r.advance(0)
	r.state = 0
	r.end()
	return r.err
}

// begin takes up a write.
func (r *Redactor) begin(p []byte) {
	at := r.matcher.nodes[r.state]
	r.p = p
	r.earlier = nil
	if at.depth > 0 {
		r.earlier = r.matcher.needles[at.needle].value[:at.depth]
	}
}

// end flushes what was gathered and moves the positions to the next write.
func (r *Redactor) end() {
	r.flush()
	n := len(r.p)
	r.done -= n
	r.hidden = max(r.hidden-n, r.done)
	for i := range r.pending {
		r.pending[i].start -= n
		r.pending[i].end -= n
	}
	r.p, r.earlier = nil, nil
}

// scan runs the automaton over the write, past what the prefilter excludes.
func (r *Redactor) scan() {
	m := r.matcher
	certain := 0 // up to here a prefix is known to match
	for i := 0; i < len(r.p); {
		depth := int(m.nodes[r.state].depth)
		if start := i - depth; depth < prefixLen && i >= certain && start >= 0 && start+m.window <= len(r.p) {
			i = m.candidate(r.p, start)
			r.state = 0
			r.advance(i)
			certain = i + prefixLen
		}
		r.state = m.step(r.state, r.p[i])
		i++
		at := &m.nodes[r.state]
		if at.found != 0 {
			length := len(m.needles[at.found-1].value)
			r.add(region{start: i - length, end: i, needle: at.found - 1})
		}
		// A needle that nothing continues is complete: only an end of it can
		// still be the beginning of another.
		for r.state != 0 && m.nodes[r.state].child == 0 {
			r.state = m.nodes[r.state].fail
		}
		r.advance(i - int(m.nodes[r.state].depth))
	}
}

// add notes an occurrence, joined with those it overlaps. Ends never
// decrease from call to call.
func (r *Redactor) add(found region) {
	for len(r.pending) > 0 {
		last := r.pending[len(r.pending)-1]
		if last.end <= found.start {
			break
		}
		if last.start < found.start {
			found.start, found.needle = last.start, last.needle
		}
		r.pending = r.pending[:len(r.pending)-1]
	}
	if len(r.pending) == 0 && found.start < r.hidden {
		r.hidden = found.end
		return
	}
	r.pending = append(r.pending, found)
}

// advance decides about all bytes before start: no occurrence that is still
// to come can reach them.
func (r *Redactor) advance(start int) {
	for r.done < start {
		switch {
		case r.done < r.hidden:
			r.done = min(r.hidden, start)
		case len(r.pending) > 0 && r.pending[0].start < start:
			next := r.pending[0]
			r.pending = r.pending[1:]
			r.pass(r.done, next.start)
			r.emit(r.matcher.needles[next.needle].mark)
			r.done, r.hidden = next.start, next.end
		default:
			r.pass(r.done, start)
			r.done = start
		}
	}
}

// pass writes the bytes from one position to another unchanged.
func (r *Redactor) pass(from, to int) {
	if from < 0 {
		held := r.earlier[len(r.earlier)+from:]
		r.emit(held[:min(len(held), to-from)])
		from = 0
	}
	if from < to {
		r.emit(r.p[from:to])
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

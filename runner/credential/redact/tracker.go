package redact

// tracker follows one reading of the stream through the automaton.
type tracker struct {
	state uint32
	// starts is a ring of the places in the stream where the last characters
	// of the reading began; its length is a power of 2, and grows with the
	// depth of the state.
	starts []int64
	count  uint64
	// returns are carriage returns that a newline may follow.
	returns [maxReturns]place
	waiting uint32
}

// place is where a character of a reading stands in the stream.
type place struct{ start, end int64 }

// maxReturns is how many carriage returns before a newline belong to it: one
// of a value's own and one of a terminal's (termios(3), ONLCR).
const maxReturns = 2

// idle says whether nothing is followed.
func (t *tracker) idle() bool { return t.state|t.waiting == 0 }

// feed takes in one character of the reading, which stands at start to end in
// the stream. Values are known with bare newlines.
func (t *tracker) feed(r *Redactor, char byte, start, end int64) {
	switch {
	case t.idle() && r.matcher.inert[char]:
	case r.matcher.lines && (char == '\r' || t.waiting > 0):
		t.lineEnd(r, char, start, end)
	default:
		t.follow(r, char, start, end)
	}
}

// lineEnd takes in a carriage return, or what comes after some.
func (t *tracker) lineEnd(r *Redactor, char byte, start, end int64) {
	for char != '\n' && t.waiting > 0 && (char != '\r' || t.waiting == maxReturns) {
		first := t.returns[0]
		copy(t.returns[:], t.returns[1:])
		t.waiting--
		t.follow(r, '\r', first.start, first.end)
	}
	switch {
	case char == '\r':
		t.returns[t.waiting] = place{start, end}
		t.waiting++
	case char == '\n':
		start = t.returns[0].start
		t.waiting = 0
		fallthrough
	default:
		t.follow(r, char, start, end)
	}
}

// follow takes in any character but those.
func (t *tracker) follow(r *Redactor, char byte, start, end int64) {
	trie := &r.matcher.trie
	state := trie.step(t.state, char)
	if state == 0 {
		t.state = 0
		return
	}
	at := &trie.nodes[state]
	if int(at.depth) > len(t.starts) {
		t.grow()
	}
	t.starts[t.count&uint64(len(t.starts)-1)] = start
	t.count++
	found := at.whole
	if t == &r.text.plain {
		found = at.found
	}
	if found != 0 {
		r.found(t.back(r.matcher.needles[found-1].length), end, found-1)
	}
	// A needle that nothing continues is complete: only an end of it can
	// still be the beginning of another.
	for state != 0 && trie.nodes[state].child == 0 {
		state = trie.nodes[state].fail
	}
	t.state = state
}

// grow doubles the ring.
func (t *tracker) grow() {
	larger := make([]int64, max(16, 2*len(t.starts)))
	for i := range uint64(len(t.starts)) {
		at := t.count - 1 - i
		larger[at&uint64(len(larger)-1)] = t.starts[at&uint64(len(t.starts)-1)]
	}
	t.starts = larger
}

// back is where the nth last character of the reading began.
func (t *tracker) back(n int) int64 {
	return t.starts[(t.count-uint64(n))&uint64(len(t.starts)-1)]
}

// from is where what is followed begins, or before if that is earlier or there
// are no more than loose characters of it.
func (t *tracker) from(m *Matcher, before int64, loose int) int64 {
	depth := int(m.trie.nodes[t.state].depth)
	switch {
	case depth+int(min(t.waiting, 1)) <= loose:
		return before
	case depth > 0:
		return min(before, t.back(depth))
	case m.newline:
		return min(before, t.returns[0].start)
	}
	return before
}

// forget ends what is followed.
func (t *tracker) forget() { t.state, t.waiting = 0, 0 }

// copyOf makes t follow what other does.
func (t *tracker) copyOf(other *tracker, m *Matcher) {
	t.state, t.returns, t.waiting, t.count = other.state, other.returns, other.waiting, other.count
	if len(t.starts) < len(other.starts) {
		t.starts = make([]int64, len(other.starts))
	}
	for i := range uint64(m.trie.nodes[t.state].depth) {
		at := t.count - 1 - i
		t.starts[at&uint64(len(t.starts)-1)] = other.starts[at&uint64(len(other.starts)-1)]
	}
}

// idle says whether none of trackers follows anything.
func idle(trackers []tracker) bool {
	for i := range trackers {
		if !trackers[i].idle() {
			return false
		}
	}
	return true
}

// earliest is where the earliest of what trackers follow begins, or before.
func earliest(m *Matcher, trackers []tracker, before int64, loose int) int64 {
	for i := range trackers {
		before = trackers[i].from(m, before, loose)
	}
	return before
}

package redact

import (
	"slices"
	"strings"
)

// text reads a stream as it is, and with escapes undone.
type text struct {
	plain   tracker
	escapes []escaped
}

func newText(m *Matcher) text {
	escapes := []escaped{{parse: backslash, openers: `\'`}, {parse: percent, openers: "%"}}
	if m.spaces {
		escapes = append(escapes, escaped{parse: formEncoded, openers: "%+"})
	}
	if m.quotes {
		escapes = append(escapes, escaped{parse: quoted, openers: "'"})
	}
	return text{escapes: escapes}
}

// escaped reads a stream in which some characters stand as escapes.
type escaped struct {
	// tracker is in use only where there were escapes: until then this reading
	// is the plain one.
	tracker
	apart   bool
	parse   parser
	openers string // the characters that an escape begins with
	// buf are the bytes, from at on, of what may become an escape.
	buf [longestEscape]byte
	n   int
	at  int64
}

// opens tells of each byte whether an escape may begin with it.
var opens = [256]bool{'\\': true, '\'': true, '%': true, '+': true}

func (t *text) read(r *Redactor, from, until int) int {
	inert := &r.matcher.inert
	apart := t.apart()
	for i := from; i < len(r.p); i++ {
		if !apart && t.plain.idle() && i >= until {
			return i
		}
		c, pos := r.p[i], r.base+int64(i)
		if apart || opens[c] {
			for n := range t.escapes {
				t.escapes[n].step(r, c, pos)
			}
			apart = t.apart()
		}
		if !t.plain.idle() || !inert[c] {
			t.plain.feed(r, c, pos, pos+1)
		}
	}
	return len(r.p)
}

// apart says whether any reading differs from the plain one.
func (t *text) apart() bool {
	return slices.ContainsFunc(t.escapes, func(e escaped) bool { return e.apart })
}

func (t *text) end(r *Redactor) {
	// No value has a NUL: it ends whatever is not at its end yet.
	for i := range t.escapes {
		t.escapes[i].step(r, 0, r.base)
	}
	t.plain.feed(r, 0, r.base, r.base)
}

func (t *text) jump(r *Redactor, from, to int) int {
	if to = clean(r.p, from, to); to > from {
		t.plain.forget()
		for i := range t.escapes {
			e := &t.escapes[i]
			e.forget()
			e.n, e.apart = 0, false
		}
	}
	return to
}

func (t *text) from(m *Matcher, before int64, loose int) int64 {
	before = t.plain.from(m, before, loose)
	for i := range t.escapes {
		if e := &t.escapes[i]; e.apart {
			before = e.from(m, before, loose)
		}
	}
	return before
}

func (t *text) trackers() []tracker {
	all := []tracker{t.plain}
	for _, e := range t.escapes {
		if e.apart {
			all = append(all, e.tracker)
		}
	}
	return all
}

// step reads one character, before the plain reading does.
func (e *escaped) step(r *Redactor, c byte, pos int64) {
	opener := opens[c] && strings.IndexByte(e.openers, c) >= 0
	if e.n == 0 && e.idle() && r.text.plain.idle() {
		e.apart = false
	}
	if !e.apart {
		if !opener {
			return
		}
		e.apart = true
		e.copyOf(&r.text.plain, r.matcher)
	}
	if e.n == 0 && !opener {
		e.feed(r, c, pos, pos+1)
	} else {
		if e.n == 0 {
			e.at = pos
		}
		e.buf[e.n] = c
		e.n++
		e.drain(r)
	}
}

// drain reads what can be read of buf.
func (e *escaped) drain(r *Redactor) {
	for e.n > 0 {
		taken, text := e.parse(e.buf[:e.n])
		if taken == 0 {
			return
		}
		if text.n < 0 {
			e.forget()
		}
		for i := range max(text.n, 0) {
			e.feed(r, text.b[i], e.at, e.at+int64(taken))
		}
		copy(e.buf[:], e.buf[taken:e.n])
		e.n -= taken
		e.at += int64(taken)
	}
}

// from is where what may yet become a value begins, or before if that is
// earlier. An escape that is not at its end counts as more the longer it is,
// since it may stand for several bytes.
func (e *escaped) from(m *Matcher, before int64, loose int) int64 {
	begun := (e.n + 1) / 2
	before = e.tracker.from(m, before, max(0, loose-begun))
	if begun > loose && m.opens(e.buf[:e.n]) {
		return min(before, e.at)
	}
	return before
}

// opens says whether a value may begin with what the beginning of an escape
// becomes. That it may begin with those bytes as they are is for the plain
// reading to know.
func (m *Matcher) opens(escape []byte) bool {
	if len(escape) == 1 && escape[0] == '\'' {
		return m.quote
	}
	return m.special
}

// clean is the last place up to at, but not before from, that no escape and no
// line end can lie across, wherever the reading of p began.
func clean(p []byte, from, at int) int {
	for i := at - 1; i >= from; i-- {
		if opens[p[i]] || p[i] == '\r' {
			at = i
		} else if at-i == longestEscape {
			return at
		}
	}
	return from
}

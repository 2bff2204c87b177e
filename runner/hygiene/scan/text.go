package scan

import (
	"bytes"
	"slices"

	"github.com/creel-sandbox/creel/runner/hygiene"
)

// A text that is longer than a block is searched block by block. Each begins
// with the end of the one before, so that nothing that could be found is cut.
const (
	blockSize = 4 << 20
	overlap   = hygiene.MaxNeedle
	// maxRuled is how much of a text the rules are applied to: they take a
	// second or so for each MiB, and data is mostly what is longer.
	maxRuled = 64 << 20
)

// textOf says what a text is, for what is found in it.
type textOf struct {
	place  int
	path   string // of the file it is in
	name   string // what the rules are told that it is called
	key    key    // of the file it is in
	object *objectID
	dir    string // of the object
}

// text is a text that is being searched. It is written to like a file.
type text struct {
	s       *search
	of      textOf
	ruled   bool // the rules are to be applied
	began   bool
	binary  bool
	block   []byte
	line    int // of the block's first byte, from 1
	found   []hygiene.Finding
	counted bool
	applied int64 // how much the rules were told of it
	long    bool
}

// newText begins a text. Without ruled it is compared with the values only.
func (s *search) newText(of textOf, ruled bool) *text {
	return &text{s: s, of: of, ruled: ruled, line: 1}
}

// Write takes the next bytes. It never fails.
func (t *text) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), blockSize-len(t.block))
		t.block = append(t.block, rest[:n]...)
		rest = rest[n:]
		if len(t.block) == blockSize {
			t.search(t.block, len(t.block)-overlap)
			t.advance(len(t.block) - overlap)
		}
	}
	return len(p), nil
}

// skip passes over a hole, across which nothing is found.
func (t *text) skip() {
	t.search(t.block, len(t.block))
	t.advance(len(t.block))
}

// advance drops the first bytes of the block.
func (t *text) advance(n int) {
	t.line += bytes.Count(t.block[:n], []byte("\n"))
	t.block = append(t.block[:0], t.block[n:]...)
}

// Close searches what is left, files what was found, and says whether that is
// nothing.
func (t *text) Close() bool { return t.finish(t.block) }

// finish searches data, which is the end of the text, or all of it, and files
// what was found in it and before. It says whether that is nothing.
func (t *text) finish(data []byte) bool {
	t.search(data, len(data))
	if t.binary && t.ruled {
		t.s.report.Count.Binary++
	}
	for _, f := range t.found {
		h := held{key: t.of.key, place: t.of.place, finding: f}
		if t.of.object != nil {
			h.object = *t.of.object
		}
		t.s.held = append(t.s.held, h)
	}
	return len(t.found) == 0
}

// search looks for values that begin before limit, and applies the rules.
func (t *text) search(data []byte, limit int) {
	count := &t.s.report.Count
	count.Bytes += int64(limit)
	if !t.began {
		t.began = true
		t.binary = bytes.IndexByte(data[:min(len(data), 8000)], 0) >= 0 // as git tells it (buffer_is_binary)
	}
	at, line := 0, t.line
	for _, hit := range t.s.values.find(data, limit) {
		line += bytes.Count(data[at:hit.at], []byte("\n"))
		at = hit.at
		t.add(hygiene.Finding{Line: line, Rule: hygiene.RuleManaged, Value: hit.value})
	}
	if !t.ruled || t.binary {
		return
	}
	if t.applied += int64(limit); t.applied > maxRuled {
		if !t.long {
			t.long = true
			count.Long++
		}
		return
	}
	hits, read, exempt := t.s.rules.find(data, t.of.name)
	count.RuledBytes += read
	if exempt && !t.counted {
		t.counted = true
		count.Exempt++
	}
	for _, hit := range hits {
		line := 0
		if hit.line > 0 {
			line = t.line + hit.line - 1
		}
		t.add(hygiene.Finding{Line: line, Rule: hit.rule, Fingerprint: hit.fingerprint})
	}
}

// maxFound bounds what is kept of one text.
const maxFound = 1000

func (t *text) add(f hygiene.Finding) {
	f.Path = t.s.hostPath(t.of.place, t.of.path)
	if t.of.object != nil {
		f.Path, f.Repository, f.Object = "", t.s.hostPath(t.of.place, t.of.dir), t.of.object.String()
	}
	if len(t.found) < maxFound && !slices.Contains(t.found, f) {
		t.found = append(t.found, f)
	}
}

package credential

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// The prefilter looks at windows of at most this many bytes: longer ones skip
// little further and make the unfiltered end of each write longer.
const maxWindow = 64

// prefixLen is how many bytes of a value the prefilter compares whole; no
// value is shorter.
const prefixLen = MinValue

// Matcher finds several exact values in a stream: an Aho-Corasick automaton
// (CACM 18(6), 1975), entered only where a table of skips (Wu and Manber,
// TR-94-17) cannot exclude a value. Its time is linear in the stream whatever
// the stream holds. It does not change once made, so any number of Redactors
// may share it; it holds the values until Destroy.
type Matcher struct {
	needles []needle
	nodes   []node      // 0 is the root
	root    [256]uint32 // the root's children
	// window is the length of the part of each value that skip tells of.
	window   int
	skip     []uint8 // by hash of two bytes: how far a window can move
	prefixes []uint64
}

// needle is one sequence of bytes to find and what to put in its place.
type needle struct {
	value []byte
	mark  []byte
}

// node is one prefix of a needle. Children are a list, since all but a few
// nodes have one.
type node struct {
	child, sibling uint32
	fail           uint32 // the longest proper suffix that is a node
	needle         uint32 // one whose prefix this is
	depth          uint32
	found          uint32 // 1 + the longest needle that ends here; 0: none
	char           byte
}

// NewMatcher copies the values. A value with line ends is looked for with
// CRLF in their place too, as a terminal writes it. Of two variables with one
// value the first is named.
func NewMatcher(resolved []Resolved) (*Matcher, error) {
	m := &Matcher{nodes: make([]node, 1)}
	for _, r := range resolved {
		if err := CheckValue(r.Secret); err != nil {
			m.Destroy()
			return nil, fmt.Errorf("redact %s: %w", r.Env, err)
		}
		value := r.Secret.Reveal()
		m.needles = append(m.needles, needle{value: bytes.Clone(value), mark: []byte("[redacted:" + r.Env + "]")})
		if bytes.IndexByte(value, '\n') >= 0 { // else the copy would be one more to wipe
			crlf := bytes.ReplaceAll(value, []byte("\n"), []byte("\r\n"))
			m.needles = append(m.needles, needle{value: crlf, mark: []byte("[redacted:" + r.Env + "]")})
		}
	}
	if len(m.needles) == 0 {
		return m, nil
	}
	m.safeMarks()
	size := 1
	for _, n := range m.needles {
		size += len(n.value)
	}
	m.nodes = make([]node, 1, size) // never moved, so that Destroy reaches all of it
	for i := range m.needles {
		m.insert(uint32(i))
	}
	m.link()
	m.buildFilter()
	return m, nil
}

// safeMarks replaces a mark that itself holds a value by one shorter than
// any.
func (m *Matcher) safeMarks() {
	for i := range m.needles {
		for _, other := range m.needles {
			if bytes.Contains(m.needles[i].mark, other.value) {
				m.needles[i].mark = []byte("[#]")
			}
		}
	}
}

// insert adds the prefixes of one needle.
func (m *Matcher) insert(index uint32) {
	at := uint32(0)
	for depth, char := range m.needles[index].value {
		next := m.childOf(at, char)
		if next == 0 {
			next = uint32(len(m.nodes))
			m.nodes = append(m.nodes, node{needle: index, depth: uint32(depth) + 1, char: char})
			if at == 0 {
				m.root[char] = next
			} else {
				m.nodes[next].sibling = m.nodes[at].child
				m.nodes[at].child = next
			}
		}
		at = next
	}
	if m.nodes[at].found == 0 {
		m.nodes[at].found = index + 1
	}
}

// childOf is the child of a node by char; 0: none.
func (m *Matcher) childOf(at uint32, char byte) uint32 {
	if at == 0 {
		return m.root[char]
	}
	for next := m.nodes[at].child; next != 0; next = m.nodes[next].sibling {
		if m.nodes[next].char == char {
			return next
		}
	}
	return 0
}

// link sets fail and passes found along it, shallow nodes first.
func (m *Matcher) link() {
	queue := make([]uint32, 0, len(m.nodes))
	for _, first := range m.root {
		if first != 0 {
			queue = append(queue, first)
		}
	}
	for i := 0; i < len(queue); i++ {
		at := queue[i]
		for next := m.nodes[at].child; next != 0; next = m.nodes[next].sibling {
			fail := m.step(m.nodes[at].fail, m.nodes[next].char)
			m.nodes[next].fail = fail
			if m.nodes[next].found == 0 {
				m.nodes[next].found = m.nodes[fail].found
			}
			queue = append(queue, next)
		}
	}
}

// step is the longest prefix of a needle that ends with char, given the
// longest that ended before it.
func (m *Matcher) step(at uint32, char byte) uint32 {
	for at != 0 {
		if next := m.childOf(at, char); next != 0 {
			return next
		}
		at = m.nodes[at].fail
	}
	return m.root[char]
}

// hash maps two bytes to the table of skips, which fits the first-level
// cache.
func hash(a, b byte) int { return (int(a)<<4 ^ int(b)) & (skipSize - 1) }

const skipSize = 4096

// buildFilter fills the prefilter for the first bytes of every needle.
func (m *Matcher) buildFilter() {
	m.window = maxWindow
	for _, n := range m.needles {
		m.window = min(m.window, len(n.value))
	}
	m.skip = bytes.Repeat([]byte{uint8(m.window - 1)}, skipSize)
	for _, n := range m.needles {
		for i := range m.window - 1 {
			slot := &m.skip[hash(n.value[i], n.value[i+1])]
			*slot = min(*slot, uint8(m.window-2-i))
		}
		m.prefixes = append(m.prefixes, binary.LittleEndian.Uint64(n.value))
	}
}

// candidate returns the first place at or after start where a needle may
// begin: its prefix is there, or its window would reach past the end of p.
func (m *Matcher) candidate(p []byte, start int) int {
	back := m.window - 2
	at := start + back
	for at < len(p)-1 {
		skip := int(m.skip[hash(p[at], p[at+1])])
		if skip == 0 {
			if m.hasPrefix(binary.LittleEndian.Uint64(p[at-back:])) {
				return at - back
			}
			skip = 1
		}
		at += skip
	}
	return at - back
}

func (m *Matcher) hasPrefix(head uint64) bool {
	for _, prefix := range m.prefixes {
		if prefix == head {
			return true
		}
	}
	return false
}

// errDestroyed refuses to pass output on when it can no longer be searched.
var errDestroyed = errors.New("redact output: the values are destroyed")

// Destroy wipes the values. Redactors that share the matcher must have ended;
// they fail afterwards.
func (m *Matcher) Destroy() {
	for _, n := range m.needles {
		zero(n.value)
	}
	clear(m.nodes)
	clear(m.prefixes)
	clear(m.skip)
	clear(m.root[:])
	m.nodes = nil
}

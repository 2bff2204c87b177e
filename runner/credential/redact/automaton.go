package redact

import "github.com/creel-sandbox/creel/runner/credential/locked"

// automaton finds several needles in a sequence of bytes: that of Aho and
// Corasick (CACM 18(6), 1975).
type automaton struct {
	nodes  []node // 0 is the root; in memory, since together they spell the needles
	memory *locked.Buffer
	root   [256]uint32 // the root's children
}

// node is one prefix of a needle. Children are a list, since all but a few
// nodes have one.
type node struct {
	child, sibling uint32
	fail           uint32 // the longest proper suffix that is a node
	needle         uint32 // one whose prefix this is
	depth          uint32
	found          uint32 // 1 + the longest needle that ends here; 0: none
	whole          uint32 // the same, lines of values apart
	char           byte
}

// build fails where there is no more locked memory.
func (a *automaton) build(needles []needle) error {
	size := 1
	for _, n := range needles {
		size += len(n.value)
	}
	nodes, memory, err := locked.Slice[node](size)
	if err != nil {
		return err
	}
	a.nodes, a.memory = nodes[:1], memory // never more than size
	for i := range needles {
		a.insert(uint32(i), needles[i])
	}
	a.link()
	return nil
}

// insert adds the prefixes of one needle.
func (a *automaton) insert(index uint32, n needle) {
	at := uint32(0)
	for depth, char := range n.value {
		next := a.childOf(at, char)
		if next == 0 {
			next = uint32(len(a.nodes))
			a.nodes = append(a.nodes, node{needle: index, depth: uint32(depth) + 1, char: char})
			if at == 0 {
				a.root[char] = next
			} else {
				a.nodes[next].sibling = a.nodes[at].child
				a.nodes[at].child = next
			}
		}
		at = next
	}
	end := &a.nodes[at]
	if end.found == 0 {
		end.found = index + 1
	}
	if end.whole == 0 && !n.line {
		end.whole = index + 1
	}
}

// childOf is the child of a node by char; 0: none.
func (a *automaton) childOf(at uint32, char byte) uint32 {
	if at == 0 {
		return a.root[char]
	}
	for next := a.nodes[at].child; next != 0; next = a.nodes[next].sibling {
		if a.nodes[next].char == char {
			return next
		}
	}
	return 0
}

// link sets fail and passes found and whole along it, shallow nodes first.
func (a *automaton) link() {
	queue := make([]uint32, 0, len(a.nodes))
	for _, first := range a.root {
		if first != 0 {
			queue = append(queue, first)
		}
	}
	for i := 0; i < len(queue); i++ {
		at := queue[i]
		for next := a.nodes[at].child; next != 0; next = a.nodes[next].sibling {
			n := &a.nodes[next]
			n.fail = a.step(a.nodes[at].fail, n.char)
			suffix := &a.nodes[n.fail]
			if n.found == 0 {
				n.found = suffix.found
			}
			if n.whole == 0 {
				n.whole = suffix.whole
			}
			queue = append(queue, next)
		}
	}
}

// step is the longest prefix of a needle that ends with char, given the
// longest that ended before it.
func (a *automaton) step(at uint32, char byte) uint32 {
	for at != 0 {
		if next := a.childOf(at, char); next != 0 {
			return next
		}
		at = a.nodes[at].fail
	}
	return a.root[char]
}

func (a *automaton) destroy() {
	a.memory.Free()
	clear(a.root[:])
	a.nodes = nil
}

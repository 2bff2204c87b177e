package seccomp

import (
	"encoding/json"
	"sort"
	"strconv"
	"strings"
)

// fields says what to do with each key an object may have.
type fields map[string]func(n node, key string)

// object reads an object whose keys are all known and unique, calling back
// for each.
func (p *problems) object(n node, key string, known fields) {
	if !n.isObj {
		p.add(n.line, key, "must be an object")
		return
	}
	seen := map[string]bool{}
	for _, m := range n.object {
		at := join(key, m.key)
		read, ok := known[m.key]
		switch {
		case !ok:
			p.add(m.line, at, "unknown key; known here: %s", strings.Join(known.names(), ", "))
		case seen[m.key]:
			p.add(m.line, at, "given twice")
		default:
			read(m.value, at)
		}
		seen[m.key] = true
	}
}

func (f fields) names() []string {
	names := make([]string, 0, len(f))
	for name := range f {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func join(parent, key string) string {
	if parent == "" {
		return key
	}
	return parent + "." + key
}

// each reads an array; the callback gets every element with its own key.
func (p *problems) each(n node, key string, read func(n node, key string)) {
	if n.scalar == nil && !n.isObj && !n.isArray {
		// Docker writes null for an empty list.
		return
	}
	if !n.isArray {
		p.add(n.line, key, "must be a list")
		return
	}
	for i, element := range n.array {
		read(element, key+"["+strconv.Itoa(i)+"]")
	}
}

func (p *problems) text(n node, key string) string {
	s, ok := n.scalar.(string)
	if !ok {
		p.add(n.line, key, "must be a string")
	}
	return s
}

func (p *problems) texts(n node, key string) []string {
	var list []string
	p.each(n, key, func(n node, key string) { list = append(list, p.text(n, key)) })
	return list
}

// number reads a whole number from 0 to limit. A fraction or an exponent is
// refused even where its value is whole.
func (p *problems) number(n node, key string, limit uint64) uint64 {
	literal, ok := n.scalar.(json.Number)
	value, err := strconv.ParseUint(literal.String(), 10, 64)
	if !ok || err != nil || value > limit {
		p.add(n.line, key, "must be a whole number from 0 to %d", limit)
		return 0
	}
	return value
}

package seccomp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sort"
)

// maxDepth bounds nesting: Docker's format needs five levels.
const maxDepth = 8

// node is one JSON value with its line. encoding/json into a struct folds the
// case of keys, keeps the last of two equal keys, ignores trailing text and
// has no positions; a security policy needs the opposite of each.
type node struct {
	line    int
	scalar  any // string, json.Number, bool or nil when it is neither of the below
	object  []member
	array   []node
	isObj   bool
	isArray bool
}

type member struct {
	key   string
	line  int
	value node
}

// decoder reads one document token by token.
type decoder struct {
	json  *json.Decoder
	lines []int64 // offset of each newline
}

// decode reads exactly one JSON document.
func decode(data []byte) (node, error) {
	d := &decoder{json: json.NewDecoder(bytes.NewReader(data))}
	d.json.UseNumber()
	for i, c := range data {
		if c == '\n' {
			d.lines = append(d.lines, int64(i))
		}
	}
	root, err := d.value(0)
	if err != nil {
		return node{}, fmt.Errorf("line %d: decode JSON: %w", d.line(), err)
	}
	if _, err := d.json.Token(); !errors.Is(err, io.EOF) {
		return node{}, fmt.Errorf("line %d: decode JSON: text after the end of the document", d.line())
	}
	return root, nil
}

// line is that of the last token read, from 1.
func (d *decoder) line() int {
	at := d.json.InputOffset()
	return 1 + sort.Search(len(d.lines), func(i int) bool { return d.lines[i] >= at })
}

func (d *decoder) value(depth int) (node, error) {
	token, err := d.json.Token()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return node{}, err
	}
	if depth > maxDepth {
		return node{}, fmt.Errorf("nested more than %d deep", maxDepth)
	}
	n := node{line: d.line()}
	switch token {
	case json.Delim('{'):
		n.isObj = true
		n.object, err = d.members(depth)
	case json.Delim('['):
		n.isArray = true
		n.array, err = d.elements(depth)
	default:
		n.scalar = token
	}
	return n, err
}

func (d *decoder) members(depth int) ([]member, error) {
	var members []member
	for d.json.More() {
		token, err := d.json.Token()
		if err != nil {
			return nil, err
		}
		key, ok := token.(string)
		if !ok {
			return nil, fmt.Errorf("key %v is not a string", token)
		}
		m := member{key: key, line: d.line()}
		if m.value, err = d.value(depth + 1); err != nil {
			return nil, err
		}
		members = append(members, m)
	}
	_, err := d.json.Token()
	return members, noEOF(err)
}

func (d *decoder) elements(depth int) ([]node, error) {
	var elements []node
	for d.json.More() {
		element, err := d.value(depth + 1)
		if err != nil {
			return nil, err
		}
		elements = append(elements, element)
	}
	_, err := d.json.Token()
	return elements, noEOF(err)
}

// noEOF makes the end of input inside a value an error of its own, not the
// one that means the document ended where it should.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

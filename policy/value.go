package policy

import (
	"cmp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// value describes one kind of YAML value in one place: how it is read,
// written and shown to an editor. The tables in fields.go and config.go are
// made of them, and Parse, Show, Explain and Schema only walk those tables.
type value[T any] interface {
	// read returns what the node says, or reports what is wrong with it and
	// returns the zero T.
	read(d *decoder, path string, n *yaml.Node) T
	// write returns the canonical node, null for something that is off, or
	// nil for a key that does not apply.
	write(T) *yaml.Node
	schema() *schema
}

// scalar is a single word, number or text.
type scalar[T any] struct {
	what    string   // "a duration such as 5m": completes "expected …"
	tags    []string // the YAML types that may carry it; nil: strings only
	pattern *pattern // of the text; nil: any
	hint    string   // for text that does not match the pattern
	parse   func(text string) (T, *fault)
	format  func(T) string
	shape   schema // more than the pattern, for the editor
}

// The YAML types a scalar may have (YAML 1.2 core schema, chapter 10.3).
var (
	texts    = []string{"!!str"}
	numbers  = []string{"!!int", "!!float"} // an integer too large for 64 bits is a float to the reader
	booleans = []string{"!!bool"}
	dates    = []string{"!!timestamp", "!!str"}
	sizes    = []string{"!!str", "!!int", "!!float"}
)

func (s scalar[T]) read(d *decoder, path string, n *yaml.Node) (zero T) {
	if !d.plain(path, n) {
		return zero
	}
	tags := s.tags
	if tags == nil {
		tags = texts
	}
	if n.Kind != yaml.ScalarNode || !slices.Contains(tags, n.Tag) {
		d.problem(path, s.mistyped(n, tags))
		return zero
	}
	got, f := s.parseText(n.Value)
	if f != nil {
		d.problem(path, f)
		return zero
	}
	return got
}

// mistyped explains a value of the wrong YAML type; where only quotes make
// the difference, it says so.
func (s scalar[T]) mistyped(n *yaml.Node, tags []string) *fault {
	f := mistyped(n, s.what)
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		return f
	}
	_, wrong := s.parseText(n.Value)
	switch {
	case wrong == nil && slices.Contains(tags, "!!str"):
		f.hint = "put it in quotes if it is meant as text"
	case wrong == nil && n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0:
		f.hint = "remove the quotes"
	case s.hint != "":
		f.hint = s.hint
	}
	return f
}

func (s scalar[T]) parseText(text string) (zero T, f *fault) {
	for _, r := range text {
		if bad := unseen(r); bad != "" {
			return zero, faultf("remove it", "the value contains %s", bad)
		}
	}
	if s.pattern != nil && !s.pattern.MatchString(text) {
		return zero, faultf(s.hint, "%s is not %s", quote(text), s.what)
	}
	return s.parse(text)
}

// ambiguous are words and numbers that YAML 1.1 reads as something else than
// text: booleans and numbers to the base 60.
var ambiguous = matching(`^(?i:y|n|yes|no|on|off|[0-9]+(:[0-9]+)+)$`)

func (s scalar[T]) write(v T) *yaml.Node {
	text := s.format(v)
	tags := s.tags
	if tags == nil {
		tags = texts
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: tags[0], Value: text}
	switch {
	case slices.Contains(tags, "!!int") && decimal.MatchString(text):
		n.Tag = "!!int"
	case n.Tag == "!!str" && ambiguous.MatchString(text):
		n.Style = yaml.SingleQuotedStyle
	}
	return n
}

func (s scalar[T]) schema() *schema {
	out := s.shape
	if out.Type == "" && out.AnyOf == nil {
		out.Type = "string"
	}
	if s.pattern != nil && out.Type == "string" {
		out.Pattern = s.pattern.String()
	}
	return &out
}

// list is a YAML list; an empty one means none, never all.
type list[T any] struct {
	what     string
	item     value[T]
	min, max int
}

func (l list[T]) read(d *decoder, path string, n *yaml.Node) []T {
	if !d.plain(path, n) {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		d.problem(path, mistyped(n, l.what))
		return nil
	}
	switch count := len(n.Content); {
	case count < l.min:
		d.problem(path, faultf("name at least one; an empty list means none, never all", "the list is empty"))
	case count > l.max:
		d.problem(path, faultf("join some of them, or split the policy", "the list has %d entries, more than the %d allowed", count, l.max))
		return nil
	}
	var out []T
	for i, item := range n.Content {
		out = append(out, l.item.read(d, element(path, i), item))
	}
	return out
}

func (l list[T]) write(items []T) *yaml.Node {
	n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
	for _, item := range items {
		n.Content = append(n.Content, l.item.write(item))
	}
	return n
}

func (l list[T]) schema() *schema {
	return &schema{Type: "array", Items: l.item.schema(), MinItems: l.min, MaxItems: l.max}
}

// unlessEmpty is a list that is not asked when its key is left out; an empty one in
// a file would mean none, and is refused where min says so.
type unlessEmpty[T any] struct{ list[T] }

func (v unlessEmpty[T]) write(items []T) *yaml.Node {
	if len(items) == 0 {
		return nil
	}
	return v.list.write(items)
}

// nullable is a value that is off when its key is left out; a null in the
// file is still refused.
type nullable[T any] struct{ value[T] }

func (v nullable[T]) read(d *decoder, path string, n *yaml.Node) *T {
	got := v.value.read(d, path, n)
	return &got
}

func (v nullable[T]) keys() []string {
	if inner, ok := v.value.(interface{ keys() []string }); ok {
		return inner.keys()
	}
	return nil
}

func (v nullable[T]) write(p *T) *yaml.Node {
	if p == nil {
		return null()
	}
	return v.value.write(*p)
}

// sparse is a value whose zero means that its key was left out; instead of
// it, zero is written.
type sparse[T comparable] struct {
	value[T]
	zero func() *yaml.Node
}

func (v sparse[T]) write(got T) *yaml.Node {
	if got == *new(T) {
		return v.zero()
	}
	return v.value.write(got)
}

func null() *yaml.Node    { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"} }
func nothing() *yaml.Node { return nil }

// oneOf is a choice of words.
func oneOf[T ~string](words ...T) scalar[T] {
	var names []string
	for _, w := range words {
		names = append(names, string(w))
	}
	what := enumerate(names, "or")
	return scalar[T]{
		what: what,
		parse: func(text string) (T, *fault) {
			if !slices.Contains(names, text) {
				return "", faultf(cmp.Or(didYouMean(text, names), "write "+what), "%s is not %s", quote(text), what)
			}
			return T(text), nil
		},
		format: func(v T) string { return string(v) },
		shape:  schema{Enum: names},
	}
}

// enumerate joins names as a sentence does: a, b or c.
func enumerate(names []string, last string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	end := len(names) - 1
	return strings.Join(names[:end], ", ") + " " + last + " " + names[end]
}

package policy

import (
	"strings"

	"fmt"

	"go.yaml.in/yaml/v4"
)

// position is a place in a file; both count from 1, columns in characters.
type position struct{ line, column int }

func at(n *yaml.Node) position { return position{n.Line, n.Column} }

// decoder carries what is found while one file is read: every problem, and
// where each value was written.
type decoder struct {
	file     string
	problems []Problem
	// origins maps the dotted path of every value in the file to its place.
	origins map[string]position
}

func newDecoder(file string) *decoder {
	return &decoder{file: file, origins: map[string]position{}}
}

func (d *decoder) problemAt(where position, path string, f *fault) {
	d.problems = append(d.problems, Problem{
		File: d.file, Line: where.line, Column: where.column, Key: path,
		Message: f.message, Hint: f.hint, Severity: SeverityError,
	})
}

// mostProblems is how many problems a file is told of: a file with more was
// not meant as a policy.
const mostProblems = 200

// finish returns the problems in the order of the file.
func (d *decoder) finish() []Problem {
	sortProblems(d.problems)
	if more := len(d.problems) - mostProblems; more > 0 {
		d.problems = d.problems[:mostProblems]
		last := d.problems[mostProblems-1]
		d.problemAt(position{last.Line, last.Column}, "",
			faultf("mend the first ones and check again", "there are %d more problems", more))
	}
	return d.problems
}

// wholeFile reports a problem that has no place of its own.
func (d *decoder) wholeFile(f *fault) { d.problemAt(position{}, "", f) }

// problem reports a fault of the value at path.
func (d *decoder) problem(path string, f *fault) { d.problemAt(place(d.origins, path), path, f) }

// further reports what a rule finds, unless something at the path or below it
// is wrong already: the rule has seen a zero instead of that.
func (d *decoder) further(path string, f *fault) {
	for _, known := range d.problems {
		if known.Key == path || strings.HasPrefix(known.Key, path+".") || strings.HasPrefix(known.Key, path+"[") {
			return
		}
	}
	d.problem(path, f)
}

// place finds where a path was written. A path that was left out stands
// where the nearest value around it stands.
func place(origins map[string]position, path string) position {
	for {
		if where, ok := origins[path]; ok || path == "" {
			return where
		}
		path = parent(path)
	}
}

// plain notes where a node stands and refuses what would make it mean
// something else than it says: anchors, aliases and explicit tags.
func (d *decoder) plain(path string, n *yaml.Node) bool {
	d.origins[path] = at(n)
	switch {
	case n.Kind == yaml.AliasNode:
		d.problem(path, faultf("write the value out in full", "an alias (%s) is not allowed", quote("*"+n.Value)))
	case n.Anchor != "":
		d.problem(path, faultf("remove the anchor and write each value out in full", "an anchor (%s) is not allowed", quote("&"+n.Anchor)))
	case n.Style&yaml.TaggedStyle != 0:
		d.problem(path, faultf("remove the tag; use quotes to make a value a string", "a tag (%s) is not allowed", quote(n.Tag)))
	default:
		return true
	}
	return false
}

// pair is one key of a mapping.
type pair struct {
	key   string
	path  string
	where position // of the key
	value *yaml.Node
}

// mapping returns the pairs of a mapping whose keys are strings, each once.
// hint says what to write instead of anything else.
func (d *decoder) mapping(path string, n *yaml.Node, hint string) []pair {
	if !d.plain(path, n) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		f := mistyped(n, "a mapping")
		f.hint = hint
		d.problem(path, f)
		return nil
	}
	var pairs []pair
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		where := at(k)
		if f := keyFault(k); f != nil {
			d.problemAt(where, path, f)
			continue
		}
		p := pair{key: k.Value, path: join(path, k.Value), where: where, value: n.Content[i+1]}
		if line, seen := first[k.Value]; seen {
			d.problemAt(where, p.path, faultf("keep one of the two", "this key was given already on line %d", line))
			continue
		}
		first[k.Value] = where.line
		pairs = append(pairs, p)
	}
	return pairs
}

func keyFault(k *yaml.Node) *fault {
	switch {
	case k.Tag == "!!merge":
		return faultf("write the keys out in full", "a merge key (<<) is not allowed")
	case k.Kind != yaml.ScalarNode || k.Tag != "!!str":
		return faultf("put the key in quotes if it is meant as a name", "a key must be a string, not %s", describe(k))
	case k.Anchor != "" || k.Style&yaml.TaggedStyle != 0:
		return faultf("remove it", "an anchor or tag on a key is not allowed")
	}
	return nil
}

// mistyped says that a node is not what its key takes.
func mistyped(n *yaml.Node, want string) *fault {
	if n.Tag == "!!null" {
		return faultf("write "+want+"; to leave something off, leave its key out", "there is no value")
	}
	return faultf("write "+want, "expected %s, found %s", want, describe(n))
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	words := map[string]string{
		"!!int": "the number", "!!float": "the number", "!!bool": "the boolean",
		"!!timestamp": "the date", "!!str": "the string",
	}
	if n.Tag == "!!null" {
		return "nothing"
	}
	word, ok := words[n.Tag]
	if !ok {
		word = "the value"
	}
	return fmt.Sprintf("%s %s", word, quote(n.Value))
}

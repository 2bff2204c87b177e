package policy

import (
	"slices"
	"sync"

	"go.yaml.in/yaml/v4"
)

// field is one key of a mapping that becomes a P: all there is to know of
// it, in one row of a table.
type field[P any] struct {
	key      string
	help     string // one sentence for explain, hints and editors
	required bool
	preset   func(*P)
	read     func(d *decoder, path string, n *yaml.Node, into *P)
	write    func(*P) *yaml.Node
	schema   func() *schema
	// nested are the keys inside this one, to find a key that was written in
	// the wrong place.
	nested []string
	// applies says whether a mapping like this has the key; nil: any has. It is
	// asked of a mapping whose cases are told apart.
	applies func(*P) bool
	// instead is the hint for who gives the key where it does not apply.
	instead string
}

// only has a key be one of those mappings alone for which applies holds.
func only[P any](f field[P], applies func(*P) bool, instead string) field[P] {
	f.applies, f.instead = applies, instead
	return f
}

// required is a key that a file must have. ref returns where in a P it goes.
func required[P, T any](key string, v value[T], ref func(*P) *T, help string) field[P] {
	return derived(key, v, func(p *P) T { return *ref(p) }, func(p *P, got T) { *ref(p) = got }, help)
}

// optional is a key that a file may leave out, and then means preset.
func optional[P, T any](key string, v value[T], preset T, ref func(*P) *T, help string) field[P] {
	f := required(key, v, ref, help)
	f.required = false
	f.preset = func(p *P) { *ref(p) = preset }
	return f
}

// derived is a required key that has no field of its own in a P.
func derived[P, T any](key string, v value[T], get func(*P) T, set func(*P, T), help string) field[P] {
	f := field[P]{
		key: key, help: help, required: true,
		preset: func(*P) {},
		read:   func(d *decoder, path string, n *yaml.Node, into *P) { set(into, v.read(d, path, n)) },
		write:  func(p *P) *yaml.Node { return v.write(get(p)) },
		schema: v.schema,
	}
	if inner, ok := v.(interface{ keys() []string }); ok {
		f.nested = inner.keys()
	}
	return f
}

// derivedOptional is a derived key whose default is what a zero P says.
func derivedOptional[P, T any](key string, v value[T], get func(*P) T, set func(*P, T), help string) field[P] {
	f := derived(key, v, get, set, help)
	f.required = false
	return f
}

// object is a mapping with a fixed set of keys.
type object[P any] struct {
	fields func() []field[P]
	// choice is set where exactly one of the keys must be given.
	choice bool
	// cases is set where some keys only apply to some mappings.
	cases *cases[P]
}

// cases are two kinds of one mapping, told apart by whether a key of it has a
// word.
type cases[P any] struct {
	key, word string
	is, other P // what each is like, for applies
}

// split tells two kinds of mapping apart.
func (o object[P]) split(key, word string, is, other P) object[P] {
	o.cases = &cases[P]{key, word, is, other}
	return o
}

// table is an object of these rows. They are made when they are first asked,
// as patterns are: most programs that link this package read no policy, or
// not yet.
func table[P any](rows func() []field[P]) object[P] {
	return object[P]{fields: sync.OnceValue(rows)}
}

// choice is an object of which exactly one of the keys must be given.
func choice[P any](rows func() []field[P]) object[P] {
	return object[P]{fields: sync.OnceValue(rows), choice: true}
}

// defaults is the P of a mapping that says nothing.
func (o object[P]) defaults() P {
	var p P
	for _, f := range o.fields() {
		if f.applies == nil {
			f.preset(&p)
		}
	}
	return p
}

func (o object[P]) keys() []string {
	var keys []string
	for _, f := range o.fields() {
		keys = append(keys, f.key)
	}
	return keys
}

func (o object[P]) listed() string {
	if keys := o.keys(); len(keys) > 1 {
		return "the keys here are " + enumerate(keys, "and")
	}
	return "the one key here is " + o.fields()[0].key
}

func (o object[P]) read(d *decoder, path string, n *yaml.Node) P {
	p := o.defaults()
	before := len(d.problems)
	pairs := d.mapping(path, n, o.listed())
	if n.Kind != yaml.MappingNode || len(pairs) == 0 && len(d.problems) > before {
		return p
	}
	given, strangers := map[string]bool{}, 0
	decided := o.cases == nil
	for _, got := range pairs {
		i := slices.IndexFunc(o.fields(), func(f field[P]) bool { return f.key == got.key })
		if i < 0 {
			d.problemAt(got.where, got.path, o.unknown(got.key))
			strangers++
			continue
		}
		given[got.key] = true
		wrong := len(d.problems)
		o.fields()[i].read(d, got.path, got.value, &p)
		decided = decided || got.key == o.cases.key && len(d.problems) == wrong
	}
	o.complete(d, path, given, decided, &p)
	if o.choice && len(given) != 1 && strangers == 0 {
		d.problem(path, faultf("give one and no other", "expected exactly one of %s, found %d", enumerate(o.keys(), "and"), len(given)))
	}
	return p
}

// complete reports the keys that are missing and those that do not apply, and
// fills in what those mean that apply and were left out. Where the kind of the
// mapping is not decided, since the key that does is missing or wrong, it is
// taken for the other, and no key is reported for that.
func (o object[P]) complete(d *decoder, path string, given map[string]bool, decided bool, p *P) {
	like := p
	if !decided {
		like = &o.cases.other
	}
	for _, f := range o.fields() {
		switch applies := f.appliesTo(like); {
		case given[f.key] && !applies && decided:
			d.problem(join(path, f.key), faultf(f.instead, "this key has no meaning here"))
		case given[f.key] || !applies:
		case f.required:
			d.problem(join(path, f.key), faultf(f.help, "this required key is missing"))
		case f.applies != nil:
			f.preset(p)
		}
	}
}

func (f field[P]) appliesTo(p *P) bool { return f.applies == nil || f.applies(p) }

// unknown explains a key that is not in the table: misspelt, in the wrong
// letter case, or in the wrong place.
func (o object[P]) unknown(key string) *fault {
	hint := didYouMean(key, o.keys())
	for _, f := range o.fields() {
		if slices.Contains(f.nested, key) {
			hint = "it belongs under " + f.key + ": write " + f.key + ": {" + key + ": …}"
		}
	}
	if hint == "" {
		hint = o.listed()
	}
	return faultf(hint, "this key is unknown")
}

func (o object[P]) write(p P) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for _, f := range o.fields() {
		if !f.appliesTo(&p) {
			continue
		}
		if v := f.write(&p); v != nil {
			n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: f.key}, v)
		}
	}
	return n
}

func (o object[P]) schema() *schema {
	s := &schema{Type: "object", Properties: map[string]*schema{}, Closed: true}
	defaults := o.defaults()
	for _, f := range o.fields() {
		f.preset(&defaults)
		key := f.schema()
		key.Description = f.help
		if f.required {
			if f.applies == nil {
				s.Required = append(s.Required, f.key)
			}
		} else if n := f.write(&defaults); n != nil && n.Kind == yaml.ScalarNode {
			key.Default = jsonScalar(n)
		}
		s.Properties[f.key] = key
	}
	if o.choice {
		s.MinProperties, s.MaxProperties = 1, 1
	}
	if c := o.cases; c != nil {
		s.If = &schema{Properties: map[string]*schema{c.key: {Const: c.word}}, Required: []string{c.key}}
		s.Then, s.Else = o.keysOf(&c.is), o.keysOf(&c.other)
	}
	return s
}

// keysOf says which of the keys that do not always apply a mapping like p must
// have, and which it cannot have.
func (o object[P]) keysOf(p *P) *schema {
	s := &schema{}
	var others []*schema
	for _, f := range o.fields() {
		switch {
		case f.applies == nil:
		case !f.applies(p):
			others = append(others, &schema{Required: []string{f.key}})
		case f.required:
			s.Required = append(s.Required, f.key)
		}
	}
	if len(others) > 0 {
		s.Not = &schema{AnyOf: others}
	}
	return s
}

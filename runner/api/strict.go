package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"unicode/utf8"
)

// maxDepth bounds nesting: no message of ours is a tenth as deep, and the
// check below recurses.
const maxDepth = 64

var errDepth = errors.New("nested deeper than any message of ours")

// errSyntax stops the check of keys at what is no JSON; json.Unmarshal says
// what is wrong with it.
var errSyntax = errors.New("not JSON")

// Decode reads exactly one JSON value from data into v, a non-nil pointer.
// It refuses what encoding/json lets pass: unknown keys, keys that match a
// field only after case folding, repeated keys (where the last would win
// unseen), text after the value, and invalid UTF-8.
func Decode(data []byte, v any) error {
	if !utf8.Valid(data) {
		return errors.New("decode message: not UTF-8")
	}
	k := keyCheck{data: data}
	keyErr := k.value(reflect.TypeOf(v), 0)
	if keyErr != nil && keyErr != errSyntax {
		return fmt.Errorf("decode message: %w", keyErr)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("decode message: %w", err)
	}
	if keyErr != nil { // what we cannot follow is not accepted, whoever else can
		return fmt.Errorf("decode message: %w", keyErr)
	}
	return nil
}

// keyCheck walks a value beside the Go type it is meant for. It looks at
// keys alone, and at the rest only as far as it must to find them:
// json.Unmarshal, which runs after it, judges everything else (RFC 8259).
type keyCheck struct {
	data []byte
	at   int
}

// next skips white space and returns the byte that follows, without taking it.
func (k *keyCheck) next() (byte, error) {
	for ; k.at < len(k.data); k.at++ {
		switch c := k.data[k.at]; c {
		case ' ', '\t', '\r', '\n':
		default:
			return c, nil
		}
	}
	return 0, io.ErrUnexpectedEOF
}

// value checks the next value. A nil t is a type whose keys are free.
func (k *keyCheck) value(t reflect.Type, depth int) error {
	if depth > maxDepth {
		return errDepth
	}
	c, err := k.next()
	if err != nil {
		return err
	}
	switch c {
	case '{':
		return k.object(plain(t), depth)
	case '[':
		return k.array(plain(t), depth)
	case '"':
		_, err := k.text()
		return err
	}
	return k.scalar()
}

// scalar passes a number or a word: all up to where something else can begin.
func (k *keyCheck) scalar() error {
	begin := k.at
	for ; k.at < len(k.data); k.at++ {
		if strings.IndexByte(" \t\r\n,:]}[{\"", k.data[k.at]) >= 0 {
			break
		}
	}
	if k.at == begin {
		return errSyntax
	}
	return nil
}

// text passes a string and returns it as it is written, in its quotes.
func (k *keyCheck) text() ([]byte, error) {
	begin := k.at
	for k.at++; k.at < len(k.data); k.at++ {
		switch k.data[k.at] {
		case '\\':
			k.at++ // whatever follows does not end the string
		case '"':
			k.at++
			return k.data[begin:k.at], nil
		}
	}
	return nil, io.ErrUnexpectedEOF
}

// members passes what stands between two brackets, calling one at each, and
// the closing bracket.
func (k *keyCheck) members(closing byte, one func() error) error {
	k.at++ // the opening one
	c, err := k.next()
	if err != nil || c == closing {
		k.at++
		return err
	}
	for {
		if err := one(); err != nil {
			return err
		}
		c, err := k.next()
		if err != nil {
			return err
		}
		k.at++
		switch c {
		case closing:
			return nil
		case ',':
		default:
			return errSyntax
		}
	}
}

func (k *keyCheck) array(t reflect.Type, depth int) error {
	if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
		t = t.Elem()
	}
	return k.members(']', func() error { return k.value(t, depth+1) })
}

func (k *keyCheck) object(t reflect.Type, depth int) error {
	seen := map[string]bool{}
	return k.members('}', func() error {
		key, err := k.key()
		if err != nil {
			return err
		}
		if seen[key] {
			return fmt.Errorf("key %q is given twice", key)
		}
		seen[key] = true
		field, err := keyType(t, key)
		if err != nil {
			return err
		}
		return k.value(field, depth+1)
	})
}

// key passes a key and its colon, and returns what the key means: it may be
// written with escapes.
func (k *keyCheck) key() (key string, err error) {
	c, err := k.next()
	if err != nil {
		return "", err
	}
	if c != '"' {
		return "", errSyntax
	}
	written, err := k.text()
	if err != nil {
		return "", err
	}
	if key = string(written[1 : len(written)-1]); strings.Contains(key, `\`) && json.Unmarshal(written, &key) != nil {
		return "", errSyntax
	}
	if c, err = k.next(); err == nil && c != ':' {
		err = errSyntax
	}
	k.at++
	return key, err
}

// keyType is the type of what key holds in an object meant for t.
func keyType(t reflect.Type, key string) (reflect.Type, error) {
	if t == nil {
		return nil, nil
	}
	switch t.Kind() {
	case reflect.Map:
		return t.Elem(), nil
	case reflect.Struct:
		if field := fieldsOf(t)[key]; field != nil {
			return field, nil
		}
		return nil, fmt.Errorf("unknown key %q", key)
	default:
		return nil, nil // the wrong kind of value: json.Unmarshal says so
	}
}

// known holds the fields of every struct that was asked for.
var known sync.Map // of reflect.Type to map[string]reflect.Type

// fieldsOf are the types of a struct's fields by their keys.
func fieldsOf(t reflect.Type) map[string]reflect.Type {
	if fields, ok := known.Load(t); ok {
		return fields.(map[string]reflect.Type)
	}
	fields := map[string]reflect.Type{}
	for i := range t.NumField() {
		field := t.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if !field.Anonymous || name != "" {
			fields[name] = field.Type
			continue
		}
		for inner, of := range fieldsOf(field.Type) {
			fields[inner] = of
		}
	}
	known.Store(t, fields)
	return fields
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

// plain is t without its pointers, or nil for a type whose keys are free.
func plain(t reflect.Type) reflect.Type {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() == reflect.Interface || reflect.PointerTo(t).Implements(unmarshaler) {
		return nil
	}
	return t
}

package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"
)

// maxDepth bounds nesting: no message of ours is a tenth as deep, and the
// check below recurses.
const maxDepth = 64

var errDepth = fmt.Errorf("nested deeper than %d", maxDepth)

// Decode reads exactly one JSON value from data into v, a non-nil pointer.
// It refuses what encoding/json lets pass: unknown keys, keys that match a
// field only after case folding, repeated keys (where the last would win
// unseen), text after the value, and invalid UTF-8.
func Decode(data []byte, v any) error {
	if !utf8.Valid(data) {
		return errors.New("decode message: not UTF-8")
	}
	k := keyCheck{json.NewDecoder(bytes.NewReader(data))}
	if err := k.value(reflect.TypeOf(v), 0); err != nil {
		return fmt.Errorf("decode message: %w", err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("decode message: %w", err)
	}
	return nil
}

// keyCheck walks a value beside the Go type it is meant for. It looks at
// keys alone; json.Unmarshal, which runs after it, judges everything else.
type keyCheck struct{ tokens *json.Decoder }

// value checks the next value. A nil t is a type whose keys are free.
func (k keyCheck) value(t reflect.Type, depth int) error {
	if depth > maxDepth {
		return errDepth
	}
	token, err := k.tokens.Token()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // io.EOF means a closed connection to callers
	}
	if err != nil {
		return fmt.Errorf("read token: %w", err)
	}
	switch token {
	case json.Delim('{'):
		return k.object(plain(t), depth)
	case json.Delim('['):
		return k.array(plain(t), depth)
	}
	return nil
}

func (k keyCheck) array(t reflect.Type, depth int) error {
	if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
		t = t.Elem()
	}
	for k.tokens.More() {
		if err := k.value(t, depth+1); err != nil {
			return err
		}
	}
	_, err := k.tokens.Token()
	return err
}

func (k keyCheck) object(t reflect.Type, depth int) error {
	seen := map[string]bool{}
	for k.tokens.More() {
		token, err := k.tokens.Token()
		if err != nil {
			return fmt.Errorf("read key: %w", err)
		}
		key, ok := token.(string)
		if !ok {
			return errors.New("a key is not a string")
		}
		if seen[key] {
			return fmt.Errorf("key %q is given twice", key)
		}
		seen[key] = true
		field, err := keyType(t, key)
		if err != nil {
			return err
		}
		if err := k.value(field, depth+1); err != nil {
			return err
		}
	}
	_, err := k.tokens.Token()
	return err
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
		if field := fieldNamed(t, key); field != nil {
			return field, nil
		}
		return nil, fmt.Errorf("unknown key %q", key)
	default:
		return nil, nil // the wrong kind of value: json.Unmarshal says so
	}
}

func fieldNamed(t reflect.Type, key string) reflect.Type {
	for i := range t.NumField() {
		field := t.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Anonymous && name == "" {
			if inner := fieldNamed(field.Type, key); inner != nil {
				return inner
			}
			continue
		}
		if name == key {
			return field.Type
		}
	}
	return nil
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

package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestDecodeRefusesWhatEncodingJSONLetsPass(t *testing.T) {
	good := `{"policy":"p","argv":["bHM="],"tty":false}`
	var request ExecRequest
	if err := Decode([]byte(good), &request); err != nil || string(request.Argv[0]) != "ls" {
		t.Fatalf("positive control: %v, %+v", err, request)
	}
	for name, test := range map[string]struct{ data, want string }{
		"unknown key":        {`{"policy":"p","root":true}`, `unknown key "root"`},
		"case-folded key":    {`{"Policy":"p"}`, `unknown key "Policy"`},
		"repeated key":       {`{"policy":"a","policy":"b"}`, `key "policy" is given twice`},
		"escaped repeat":     {`{"policy":"a","p\u006flicy":"b"}`, `key "policy" is given twice`},
		"trailing value":     {good + `{}`, "after top-level value"},
		"trailing text":      {good + `x`, "after top-level value"},
		"invalid UTF-8":      {"{\"policy\":\"\xff\"}", "not UTF-8"},
		"wrong kind":         {`{"policy":7}`, "cannot unmarshal number"},
		"overflow":           {`{"rows":65536}`, "cannot unmarshal number"},
		"truncated":          {good[:20], "EOF"},
		"empty":              {``, "EOF"},
		"too deep":           {`{"argv":` + strings.Repeat("[", 4<<10), "nested deeper"},
		"forged peer":        {`{"policy":"p","uid":0}`, `unknown key "uid"`},
		"array for object":   {`[]`, "cannot unmarshal array"},
		"misplaced comma":    {`{"policy":"p",}`, "invalid character"},
		"bad base64":         {`{"argv":["?"]}`, "illegal base64"},
		"NaN":                {`{"timeoutNs":NaN}`, "invalid character"},
		"fraction of a unit": {`{"timeoutNs":1.5}`, "cannot unmarshal number"},
	} {
		t.Run(name, func(t *testing.T) {
			err := Decode([]byte(test.data), new(ExecRequest))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestDecodeChecksKeysAtEveryDepth(t *testing.T) {
	good := `{"type":"exited","result":{"id":"x","startedAt":"2026-01-02T03:04:05Z"}}`
	var event Event
	if err := Decode([]byte(good), &event); err != nil || event.Result.ID != "x" {
		t.Fatalf("positive control: %v, %+v", err, event)
	}
	for _, data := range []string{
		`{"type":"exited","result":{"ID":"x"}}`,
		`{"type":"exited","result":{"id":"x","id":"y"}}`,
		`{"type":"reply","reply":{"a":{"b":1,"b":2}}}`, // free keys, but not twice
	} {
		if err := Decode([]byte(data), new(Event)); err == nil {
			t.Errorf("%s was accepted", data)
		}
	}
	var inspect InspectReply
	if err := Decode([]byte(`{"sandbox":{"id":"x"},"posture":{"Any":{"key":1}}}`), &inspect); err != nil {
		t.Errorf("a posture's keys are free: %v", err)
	}
	if err := Decode([]byte(`{"id":"x","error":{"code":"lost"}}`), new(Outcome)); err != nil {
		t.Errorf("keys of an embedded struct: %v", err)
	}
}

// FuzzDecode holds that whatever is accepted means one thing: encoding it
// again and decoding that gives the same bytes.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"policy":"p","argv":["bHM="],"env":["QT1i"],"timeoutNs":5,"tty":true}`))
	f.Add([]byte(`{"policy":"p","Policy":"q"}`))
	f.Add([]byte(`[[[[`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var first, second ExecRequest
		if Decode(data, &first) != nil {
			return
		}
		again, err := json.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		if err := Decode(again, &second); err != nil {
			t.Fatalf("own encoding refused: %v", err)
		}
		if final, _ := json.Marshal(second); !bytes.Equal(again, final) {
			t.Fatalf("%s became %s", again, final)
		}
	})
}

// FuzzKeysAreThoseThatJSONReads holds that the check of keys follows a message
// as encoding/json does: it accepts what the same check of encoding/json's
// tokens accepts, and nothing else.
func FuzzKeysAreThoseThatJSONReads(f *testing.F) {
	for _, seed := range []string{
		`{"type":"exited","result":{"id":"x","startedAt":"2026-01-02T03:04:05Z"}}`,
		`{"type":"reply","reply":{"a":[{"b":1,"b":2}]}}`,
		` { "type" : "log" , "log" : { "stream":"a\"\\", "data":"" } } `,
		`{"t\u0079pe":"x","reply":[[],{},[1,-2.5e3,true,null]]}`,
		`{"type":"reply","reply":{"\"":1,"\u0022":2}}`,
		`{"type":"reply","reply":{"\ud800":1,"\ufffd":2}}`,
		`{"type":"x",}`, `{"type" "x"}`, `{"id":"x"`, `[1 2]`, `{}{}`, `"`, `"\`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		accepted := Decode(data, new(Event)) == nil
		tokens := tokenCheck{json.NewDecoder(bytes.NewReader(data))}
		want := utf8.Valid(data) && tokens.value(reflect.TypeFor[Event](), 0) == nil && json.Unmarshal(data, new(Event)) == nil
		if accepted != want {
			t.Errorf("accepted %v, want %v: %q", accepted, want, data)
		}
	})
}

// tokenCheck is keyCheck on top of encoding/json's own tokens: slow, and
// nothing that could read a message otherwise than json.Unmarshal does.
type tokenCheck struct{ tokens *json.Decoder }

// value checks the next value. A nil t is a type whose keys are free.
func (k tokenCheck) value(t reflect.Type, depth int) error {
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

func (k tokenCheck) array(t reflect.Type, depth int) error {
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

func (k tokenCheck) object(t reflect.Type, depth int) error {
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

package api

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
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
		"NaN":                {`{"timeout":NaN}`, "invalid character"},
		"fraction of a unit": {`{"timeout":1.5}`, "cannot unmarshal number"},
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
	f.Add([]byte(`{"policy":"p","argv":["bHM="],"env":["QT1i"],"timeout":5,"tty":true}`))
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

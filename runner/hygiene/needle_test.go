package hygiene

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

// quoted is a text in JSON, as an encoder that escapes no more than it must
// writes it; one that has no need to is left as it is.
func quoted(t *testing.T, text []byte) string {
	t.Helper()
	if !utf8.Valid(text) || bytes.ContainsFunc(text, func(r rune) bool {
		return r < ' ' && !strings.ContainsRune("\n\r\t", r) || r == '\u2028' || r == '\u2029'
	}) {
		return string(text)
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(string(text)); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// recognises says whether needles recognise a text of their length somewhere
// in data, tried at each place.
func recognises(n Needles, data []byte) bool {
	roll := n.Rolling()
	for at := range data {
		for _, needle := range n.All {
			if at+needle.Length > len(data) {
				continue
			}
			text := data[at : at+needle.Length]
			if roll.Of(text) == needle.Sum && bytes.Equal(n.Digest(text), needle.Digest) {
				return true
			}
		}
	}
	return false
}

func FuzzNeedlesRecogniseAValueWhereverItIs(f *testing.F) {
	f.Add([]byte("before"), []byte("eight by"), []byte("after"))
	f.Add([]byte("{"), []byte("line one\nline \"two\"\t\\\n"), []byte("}"))
	f.Add([]byte{}, []byte("a value of some length, with \x00 and \xff"), []byte{1})
	f.Fuzz(func(t *testing.T, before, value, after []byte) {
		if len(value) < Window || len(value) > 256 || len(before)+len(after) > 64 || bytes.Contains(before, value) || bytes.Contains(after, value) {
			return
		}
		k := NewKeyring()
		n := k.Needles(k.Hash(value))
		whole := bytes.Join([][]byte{before, value, after}, nil)
		for name, text := range map[string]string{
			"plain": string(whole), "base64": base64.StdEncoding.EncodeToString(whole),
			"base64url": base64.RawURLEncoding.EncodeToString(whole), "hexadecimal": hex.EncodeToString(whole),
			"HEXADECIMAL": strings.ToUpper(hex.EncodeToString(whole)), "CRLF": strings.ReplaceAll(string(whole), "\n", "\r\n"),
			"URL": strings.ReplaceAll(url.QueryEscape(string(whole)), "+", "%20"), "JSON": quoted(t, whole),
		} {
			if !recognises(n, []byte(text)) {
				t.Errorf("%s: not recognised in %q", name, text)
			}
		}
		other := bytes.Clone(value)
		other[len(other)/2] ^= 1
		if recognises(n, other) {
			t.Error("another value is taken for it")
		}
	})
}

func TestNeedlesDoNotHoldTheValue(t *testing.T) {
	value := []byte("correct horse battery staple")
	k := NewKeyring()
	n := k.Needles(k.Hash(value))
	if !recognises(n, value) {
		t.Fatal("control: the value is not recognised")
	}
	data, err := json.Marshal(Request{Needles: n})
	if err != nil {
		t.Fatal(err)
	}
	var back Request
	if err := json.Unmarshal(data, &back); err != nil || !recognises(back.Needles, value) {
		t.Fatalf("control: not recognised by the one who was asked: %v", err)
	}
	for _, form := range forms(value) {
		for at := 0; at+8 <= len(form); at++ {
			if bytes.Contains(data, form[at:at+8]) {
				t.Fatalf("%q is in %s", form[at:at+8], data)
			}
		}
	}
	if string(value) != "correct horse battery staple" {
		t.Error("the value was changed")
	}
}

func TestKeysDifferAndNeedlesOfOneKeyDoNot(t *testing.T) {
	value := []byte("correct horse battery staple")
	k, other := NewKeyring(), NewKeyring()
	first, again := k.Needles(k.Hash(value)), k.Needles(k.Hash(value))
	if first.Identity() != again.Identity() {
		t.Error("the same value under the same key is another")
	}
	if first.Identity() == other.Needles(other.Hash(value)).Identity() {
		t.Error("two keys give the same hashes")
	}
	if first.Identity() == k.Needles(k.Hash([]byte("another value"))).Identity() {
		t.Error("two values are the same")
	}
}

func TestMalformedNeedlesAreRefused(t *testing.T) {
	k := NewKeyring()
	good := k.Needles(k.Hash([]byte("correct horse")))
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	if err := (Needles{}).Check(); err != nil {
		t.Errorf("none: %v", err)
	}
	for name, spoil := range map[string]func(n *Needles){
		"short key":    func(n *Needles) { n.Key = n.Key[1:] },
		"short needle": func(n *Needles) { n.All[0].Length = Window - 1 },
		"long needle":  func(n *Needles) { n.All[0].Length = MaxNeedle + 1 },
		"short digest": func(n *Needles) { n.All[0].Digest = n.All[0].Digest[1:] },
	} {
		n := k.Needles(k.Hash([]byte("correct horse")))
		if spoil(&n); n.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestRollingSumIsThatOfEachWindow(t *testing.T) {
	k := NewKeyring()
	roll := Needles{Key: k.key}.Rolling()
	text := []byte(strings.Repeat("some text \x00\xff that rolls ", 20))
	state := roll.Start(text)
	for at := 0; ; at++ {
		if roll.Fold(state) != roll.Of(text[at:]) {
			t.Fatalf("at %d the sum is another", at)
		}
		if at+Window == len(text) {
			break
		}
		state = roll.Next(state, text[at], text[at+Window])
	}
}

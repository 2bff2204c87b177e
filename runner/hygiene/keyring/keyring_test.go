package keyring

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/creel-sandbox/creel/runner/hygiene"
)

// needles are those of one value.
func needles(t *testing.T, k *Keyring, value []byte) hygiene.Needles {
	t.Helper()
	all, err := k.Hash(value)
	if err != nil {
		t.Fatal(err)
	}
	return hygiene.Put(k.Key(), all)
}

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
func recognises(n hygiene.Needles, data []byte) bool {
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
		if len(value) < hygiene.Window || len(value) > 256 || len(before)+len(after) > 64 || bytes.Contains(before, value) || bytes.Contains(after, value) {
			return
		}
		k := New()
		n := needles(t, k, value)
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
	k := New()
	n := needles(t, k, value)
	if !recognises(n, value) {
		t.Fatal("control: the value is not recognised")
	}
	data, err := json.Marshal(hygiene.Request{Needles: n})
	if err != nil {
		t.Fatal(err)
	}
	var back hygiene.Request
	if err := json.Unmarshal(data, &back); err != nil || !recognises(back.Needles, value) {
		t.Fatalf("control: not recognised by the one who was asked: %v", err)
	}
	for _, form := range forms {
		text := form(nil, value, make([]byte, len(value)+2))
		for at := 0; at+8 <= len(text); at++ {
			if bytes.Contains(data, text[at:at+8]) {
				t.Fatalf("%q is in %s", text[at:at+8], data)
			}
		}
	}
	if string(value) != "correct horse battery staple" {
		t.Error("the value was changed")
	}
}

func TestKeysDifferAndNeedlesOfOneKeyDoNot(t *testing.T) {
	value := []byte("correct horse battery staple")
	k, other := New(), New()
	first, again := needles(t, k, value), needles(t, k, value)
	if first.Identity() != again.Identity() {
		t.Error("the same value under the same key is another")
	}
	if first.Identity() == needles(t, other, value).Identity() {
		t.Error("two keys give the same hashes")
	}
	if first.Identity() == needles(t, k, []byte("another value")).Identity() {
		t.Error("two values are the same")
	}
}

func TestMalformedNeedlesAreRefused(t *testing.T) {
	k := New()
	good := needles(t, k, []byte("correct horse"))
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	if err := (hygiene.Needles{}).Check(); err != nil {
		t.Errorf("none: %v", err)
	}
	for name, spoil := range map[string]func(n *hygiene.Needles){
		"short key":    func(n *hygiene.Needles) { n.Key = n.Key[1:] },
		"short needle": func(n *hygiene.Needles) { n.All[0].Length = hygiene.Window - 1 },
		"long needle":  func(n *hygiene.Needles) { n.All[0].Length = hygiene.MaxNeedle + 1 },
		"short digest": func(n *hygiene.Needles) { n.All[0].Digest = n.All[0].Digest[1:] },
	} {
		n := needles(t, k, []byte("correct horse"))
		if spoil(&n); n.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// The work area is as large as the longest form of a value of any bytes, and
// none is given another buffer, which nobody would wipe.
func TestFormsStayInTheirBuffer(t *testing.T) {
	for _, fill := range []string{"\x00", "\n", "\"", "~", "\xff"} {
		for _, length := range []int{hygiene.Window, 63, 64, 65, 64 << 10} {
			value := bytes.Repeat([]byte(fill), length)
			room := make([]byte, 3*length+2*sha256.BlockSize)
			for i, form := range forms {
				text := form(room[:0], value, make([]byte, length+2))
				if filled := append(text, hygiene.Fill(len(text))...); &filled[0] != &room[0] || len(filled)%sha256.BlockSize != 0 {
					t.Errorf("form %d of %d times %q has %d bytes, filled %d", i, length, fill, len(text), len(filled))
				}
			}
		}
	}
}

func TestRollingSumIsThatOfEachWindow(t *testing.T) {
	k := New()
	roll := hygiene.Needles{Key: k.key}.Rolling()
	text := []byte(strings.Repeat("some text \x00\xff that rolls ", 20))
	state := roll.Start(text)
	for at := 0; ; at++ {
		if roll.Fold(state) != roll.Of(text[at:]) {
			t.Fatalf("at %d the sum is another", at)
		}
		if at+hygiene.Window == len(text) {
			break
		}
		state = roll.Next(state, text[at], text[at+hygiene.Window])
	}
}

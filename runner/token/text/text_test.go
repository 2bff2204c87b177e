package text

import (
	"bytes"
	"crypto/rand"
	"regexp"
	"testing"
)

func random() *[RandomBytes]byte {
	var r [RandomBytes]byte
	rand.Read(r[:])
	return &r
}

func TestTokenIsKnownWhenItIsSeen(t *testing.T) {
	pattern := regexp.MustCompile(Pattern)
	for range 1000 {
		token := Append(nil, random())
		if !Valid(token) || len(token) != Length {
			t.Fatalf("a new token of %d bytes is not valid", len(token))
		}
		for _, around := range []string{"token: %", "TOKEN=%\n", `{"token":"%"}`, "https://host/?t=%&x=1"} {
			in := bytes.Replace([]byte(around), []byte("%"), token, 1)
			if got := pattern.Find(in); !bytes.Equal(got, token) {
				t.Fatalf("the pattern does not find the token in %q", around)
			}
		}
	}
}

func TestDamagedTokenIsNotValid(t *testing.T) {
	token := Append(nil, random())
	for i := range token {
		other := bytes.Clone(token)
		if other[i]++; Valid(other) {
			t.Errorf("valid with another character at %d", i)
		}
		if Valid(token[:i]) || Valid(token[i+1:]) {
			t.Errorf("valid when cut at %d", i)
		}
	}
	for _, other := range [][]byte{append(bytes.Clone(token), 'a'), append(bytes.Clone(token), '\n'), bytes.ToUpper(token),
		append([]byte(" "), token...), append(bytes.Clone(token[:Length-2]), "\r\n"...), nil, bytes.Repeat([]byte("a"), Length)} {
		if Valid(other) {
			t.Errorf("%d other bytes are valid", len(other))
		}
	}
	if !Valid(token) {
		t.Error("control: the token itself is not")
	}
}

func FuzzValid(f *testing.F) {
	f.Add(Append(nil, random()))
	f.Add([]byte(Prefix))
	f.Fuzz(func(t *testing.T, b []byte) {
		if Valid(b) && !regexp.MustCompile(`^`+Pattern+`$`).Match(b) {
			t.Errorf("%q is valid and no token", b)
		}
	})
}

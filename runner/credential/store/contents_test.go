package store

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/runner/credential"
)

// sample is contents with two secrets, as they are encoded.
func sample(t testing.TB) []byte {
	t.Helper()
	c := newContents()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, name := range []string{"b", "a"} {
		check(t, c.add(record{Name: name, Created: now, Rotated: now}, secret("value of "+name)))
	}
	plain, err := c.encode()
	check(t, err)
	return plain
}

func TestContentsInAnyOtherFormAreRefused(t *testing.T) {
	good := string(sample(t))
	if _, err := parse([]byte(good)); err != nil {
		t.Fatalf("positive control: %v", err)
	}
	records := good[strings.Index(good, `{"name":"a"`):strings.Index(good, "]")]
	first, second, _ := strings.Cut(records, "},")
	key := good[strings.Index(good, `"key"`) : strings.Index(good, `"secrets"`)-1]
	for name, bad := range map[string]string{
		"nothing": "", "null": "null", "a list": "[]", "no JSON": "{", "more behind it": good + "{}", "not UTF-8": good + "\xff",
		"another version": strings.Replace(good, `"version":1`, `"version":2`, 1), "no version": strings.Replace(good, `"version":1,`, "", 1),
		"a key that is unknown": strings.Replace(good, `"version"`, `"vers":1,"version"`, 1),
		"a key given twice":     strings.Replace(good, `"version":1`, `"version":1,"version":1`, 1),
		"no key":                strings.Replace(good, key, `"key":null`, 1), "a short key": strings.Replace(good, key, `"key":"AAAA"`, 1),
		"names out of order": strings.Replace(good, records, second+","+first+"}", 1),
		"a name twice":       strings.Replace(good, records, first+"},"+first+"}", 1),
		"a bad name":         strings.Replace(good, `"name":"a"`, `"name":"../a"`, 1), "no name": strings.Replace(good, `"name":"a"`, `"name":""`, 1),
		"no date":        strings.Replace(good, `"created":"2026-03-01T12:00:00Z",`, "", 1),
		"a bad date":     strings.Replace(good, "2026-03-01", "2026-13-01", 1),
		"nothing sealed": strings.Replace(good, first[strings.Index(first, `"sealed"`):], `"sealed":""`, 1),
		"too long":       good + strings.Repeat(" ", maxPlain),
	} {
		if bad == good {
			t.Errorf("%s: nothing was changed", name)
		}
		if c, err := parse([]byte(bad)); err == nil {
			t.Errorf("%s: accepted as %+v", name, c)
		}
	}
}

// A value belongs to its name: one moved to another is not opened.
func TestSealedValueBelongsToItsName(t *testing.T) {
	c, err := parse(sample(t))
	check(t, err)
	a, b := c.find("a"), c.find("b")
	if got, err := c.open(a); err != nil || string(got.Reveal()) != "value of a" {
		t.Fatalf("positive control: %v", err)
	}
	a.Sealed = b.Sealed
	if _, err := c.open(a); err == nil {
		t.Error("the value of b was given as that of a")
	}
}

func TestEncodingHidesLengthsAndIsReadBack(t *testing.T) {
	plain := sample(t)
	if len(plain)%block != 0 {
		t.Errorf("%d bytes are not whole blocks", len(plain))
	}
	c, err := parse(plain)
	check(t, err)
	again, err := c.encode()
	check(t, err)
	if !bytes.Equal(plain, again) {
		t.Errorf("read and written it became\n%s", again)
	}
	key := c.Key
	c.wipe()
	if !bytes.Equal(key, make([]byte, keySize)) {
		t.Error("the key is still there after wipe")
	}
}

// The file is authenticated, so this guards against faults of our own alone;
// but they must not become values.
func FuzzContents(f *testing.F) {
	f.Add(sample(f))
	f.Add([]byte(`{"version":1,"key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","secrets":[]}`))
	f.Add([]byte(`{"version":1,"key":"","secrets":[{"name":"a","created":"2026-03-01T12:00:00Z"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parse(data)
		if err != nil {
			return
		}
		if !json.Valid(data) {
			t.Fatalf("%q was read and is no JSON", data)
		}
		for i := range c.Secrets {
			secret, err := c.open(&c.Secrets[i])
			if n := secret.Len(); err == nil && (n < credential.MinValue || n > credential.MaxValue) {
				t.Fatalf("a value of %d bytes was opened", n)
			}
		}
		plain, err := c.encode()
		if err != nil {
			return
		}
		again, err := parse(plain)
		if err != nil || len(again.Secrets) != len(c.Secrets) {
			t.Fatalf("what was read of %q is not read again: %v", data, err)
		}
	})
}

func BenchmarkFetch(b *testing.B) {
	key, err := NewKey()
	check(b, err)
	s := New(Config{Dir: b.TempDir() + "/secrets", Key: func() (credential.Secret, error) { return secret(key), nil }})
	for _, name := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
		check(b, s.Set(name, secret("a token of thirty-two characters")))
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.fetch("d"); err != nil {
			b.Fatal(err)
		}
	}
}

// Package keyring makes of a credential what a search of a workspace can
// recognise it by.
//
// It imports runner/hygiene, which says what that is, credential/locked,
// registers and the standard library. It never keeps a value, and works on it
// in locked memory alone.
package keyring

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/creel-sandbox/creel/runner/credential/locked"
	"github.com/creel-sandbox/creel/runner/hygiene"
	"github.com/creel-sandbox/creel/runner/registers"
)

// Keyring makes needles. Its key is made for it and never changes, so that the
// same value gives the same needles, and it is forgotten with the process.
type Keyring struct{ key []byte }

// New makes a key.
func New() *Keyring {
	key := make([]byte, sha256.Size)
	rand.Read(key) // never fails (crypto/rand)
	return &Keyring{key}
}

// Key is what the needles can be compared with, together with them.
func (k *Keyring) Key() []byte { return k.key }

// Hash makes the needles of one value, in each of its forms. It fails where
// there is no more locked memory.
func (k *Keyring) Hash(value []byte) ([]hygiene.Needle, error) {
	defer registers.Clear()
	shifted := len(value) + 2
	work, err := locked.New(shifted + 3*len(value) + 2*sha256.BlockSize)
	if err != nil {
		return nil, fmt.Errorf("hash value: %w", err)
	}
	defer work.Free()
	w := work.Bytes()
	roll := hygiene.Needles{Key: k.key}.Rolling()
	var all []hygiene.Needle
	for _, form := range forms {
		text := form(w[shifted:shifted], value, w[:shifted:shifted])
		if len(text) < hygiene.Window || len(text) > hygiene.MaxNeedle {
			continue
		}
		needle := hygiene.Needle{Length: len(text), Sum: roll.Of(text), Digest: k.digest(text)}
		if !slices.ContainsFunc(all, func(other hygiene.Needle) bool { return bytes.Equal(other.Digest, needle.Digest) }) {
			all = append(all, needle)
		}
	}
	return all, nil
}

// Mark makes of a value what tells it from another, and nothing else.
func (k *Keyring) Mark(value []byte) ([]byte, error) {
	defer registers.Clear()
	work, err := locked.New(len(value) + 2*sha256.BlockSize)
	if err != nil {
		return nil, fmt.Errorf("mark value: %w", err)
	}
	defer work.Free()
	locked.Move(work.Bytes(), value)
	return k.digest(work.Bytes()[:len(value)]), nil
}

// digest is that of hygiene.Needles, of a text that has room behind it.
func (k *Keyring) digest(text []byte) []byte {
	mac := hmac.New(sha256.New, k.key)
	mac.Write(append(text, hygiene.Fill(len(text))...)) // whole blocks, so that the hash buffers nothing
	return mac.Sum(nil)
}

// form writes one form of a value to a buffer that has room for it. scratch has
// two bytes more than the value.
type form func(to, value, scratch []byte) []byte

// forms are the ways in which a file may hold a value: as it is, with line ends
// of the other kind, in JSON (RFC 8259) and URLs (RFC 3986), in hexadecimal, and
// in base64 (RFC 4648) wherever in a longer text it begins.
var forms = []form{
	escaped(func(byte) string { return "" }),
	escaped(func(b byte) string {
		if b == '\n' {
			return "\r\n"
		}
		return ""
	}),
	escaped(func(b byte) string { return jsonEscapes[b] }),
	escaped(func(b byte) string {
		if b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '-' || b == '.' || b == '_' || b == '~' {
			return ""
		}
		return urlEscapes[b]
	}),
	func(to, value, _ []byte) []byte { return hex.AppendEncode(to, value) },
	func(to, value, _ []byte) []byte {
		to = hex.AppendEncode(to, value)
		for i, b := range to {
			if b >= 'a' {
				to[i] = b - 'a' + 'A'
			}
		}
		return to
	},
	base64At(base64.StdEncoding, 0), base64At(base64.StdEncoding, 1), base64At(base64.StdEncoding, 2),
	base64At(base64.URLEncoding, 0), base64At(base64.URLEncoding, 1), base64At(base64.URLEncoding, 2),
}

var jsonEscapes = map[byte]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`}

var urlEscapes = func() (all [256]string) {
	for b := range all {
		all[b] = fmt.Sprintf("%%%02X", b)
	}
	return all
}()

// escaped replaces the bytes that have an escape.
func escaped(escape func(byte) string) form {
	return func(to, value, _ []byte) []byte {
		for _, b := range value {
			if e := escape(b); e != "" {
				to = append(to, e...)
			} else {
				to = append(to, b)
			}
		}
		return to
	}
}

// base64At is what is the same of a value in base64 whatever stands around it,
// where it begins shift bytes behind a multiple of three.
func base64At(encoding *base64.Encoding, shift int) form {
	first := (shift*8 + 5) / 6 // the first character that depends on nothing before
	return func(to, value, scratch []byte) []byte {
		whole := scratch[:shift+len(value)]
		clear(whole[:shift])
		copy(whole[shift:], value)
		to = encoding.AppendEncode(to, whole)
		return append(to[:0], to[first:(shift+len(value))*8/6]...)
	}
}

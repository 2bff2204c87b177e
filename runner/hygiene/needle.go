package hygiene

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
)

// Window is how many bytes of a value's beginning the rolling sum is of. No
// credential is shorter, nor is any form of one.
const Window = 8

// MaxNeedle is the most bytes a needle has: a value of 64 KiB in hexadecimal.
// In a longer form a value is not looked for.
const MaxNeedle = 128 << 10

// Needles recognise values without saying what they are. Whoever has them can
// test a guess, as with any hash, and no more: 16 bits of a sum that rolls over
// the text say where it is worth to compute the HMAC.
type Needles struct {
	Key []byte // 32 random bytes
	All []Needle
}

// Needle is one form of one value.
type Needle struct {
	Value  int // its number
	Length int // in bytes
	Sum    uint16
	Digest []byte // HMAC-SHA256
}

// Keyring makes needles. Its key is made for it and never changes, so that the
// same values give the same needles, and it is forgotten with the process.
type Keyring struct{ key []byte }

// NewKeyring makes a key.
func NewKeyring() *Keyring {
	key := make([]byte, sha256.Size)
	rand.Read(key) // never fails (crypto/rand)
	return &Keyring{key}
}

// Hash makes the needles of one value, in each of its forms. It does not keep
// the value.
func (k *Keyring) Hash(value []byte) []Needle {
	n := Needles{Key: k.key}
	roll := n.Rolling()
	var all []Needle
	for _, text := range forms(value) {
		if len(text) >= Window && len(text) <= MaxNeedle {
			all = append(all, Needle{Length: len(text), Sum: roll.Of(text), Digest: n.Digest(text)})
		}
		clear(text)
	}
	return all
}

// Needles puts the needles of several values together; each gets the number of
// its value.
func (k *Keyring) Needles(values ...[]Needle) Needles {
	n := Needles{Key: k.key}
	for i, needles := range values {
		for _, needle := range needles {
			needle.Value = i
			n.All = append(n.All, needle)
		}
	}
	return n
}

// forms are the ways in which a file may hold a value: as it is, with line ends
// of the other kind, in JSON (RFC 8259) and URLs (RFC 3986), in hexadecimal, and
// in base64 (RFC 4648) wherever in a longer text it begins. They are copies.
func forms(value []byte) [][]byte {
	out := [][]byte{slices.Clone(value), hex.AppendEncode(nil, value)}
	add := func(text []byte) {
		if slices.ContainsFunc(out, func(other []byte) bool { return bytes.Equal(other, text) }) {
			clear(text)
			return
		}
		out = append(out, text)
	}
	add(bytes.ReplaceAll(value, []byte("\n"), []byte("\r\n")))
	add(bytes.ToUpper(out[1]))
	add(escape(value, func(b byte) string { return jsonEscapes[b] }))
	add(escape(value, func(b byte) string {
		if b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || bytes.IndexByte([]byte("-._~"), b) >= 0 {
			return ""
		}
		return fmt.Sprintf("%%%02X", b)
	}))
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		for shift := range 3 {
			whole := append(make([]byte, shift, shift+len(value)), value...)
			text := make([]byte, encoding.EncodedLen(len(whole)))
			encoding.Encode(text, whole)
			clear(whole)
			// The first and the last characters depend on the neighbours too.
			first := (shift*8 + 5) / 6
			add(text[first : (shift+len(value))*8/6])
		}
	}
	return out
}

var jsonEscapes = map[byte]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`}

// escape replaces the bytes that have an escape, in a copy that never moves.
func escape(value []byte, escapeOf func(byte) string) []byte {
	out := make([]byte, 0, 3*len(value))
	for _, b := range value {
		if e := escapeOf(b); e != "" {
			out = append(out, e...)
		} else {
			out = append(out, b)
		}
	}
	return out
}

// Digest is the HMAC of a text.
func (n Needles) Digest(text []byte) []byte {
	mac := hmac.New(sha256.New, n.Key)
	mac.Write(text)
	return mac.Sum(nil)
}

// Identity is the same for the same needles, and tells nothing else of them.
func (n Needles) Identity() string {
	h := sha256.New()
	for _, needle := range n.All {
		h.Write(needle.Digest)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Check refuses needles that this package did not make.
func (n Needles) Check() error {
	if len(n.All) == 0 {
		return nil
	}
	bad := len(n.Key) != sha256.Size
	for _, needle := range n.All {
		bad = bad || needle.Length < Window || needle.Length > MaxNeedle || len(needle.Digest) != sha256.Size
	}
	if bad {
		return errors.New("check needles: malformed")
	}
	return nil
}

// Rolling is a sum over a window that moves over a text by one byte at a time:
// a polynomial modulo 2^64 at a secret odd point (Karp and Rabin, IBM J. Res.
// Dev. 31(2), 1987), of which 16 bits are used.
type Rolling struct {
	base, leave, mix uint64
}

// Rolling is the sum that the needles were made with.
func (n Needles) Rolling() Rolling {
	seed := sha256.Sum256(append([]byte("rolling sum"), n.Key...))
	r := Rolling{base: binary.LittleEndian.Uint64(seed[:]) | 1, mix: binary.LittleEndian.Uint64(seed[8:]) | 1, leave: 1}
	for range Window {
		r.leave *= r.base
	}
	return r
}

// Of is the sum of a text's first window.
func (r Rolling) Of(text []byte) uint16 {
	return r.Fold(r.Start(text))
}

// Start is the state after the first window of a text.
func (r Rolling) Start(text []byte) uint64 {
	state := uint64(0)
	for _, b := range text[:Window] {
		state = state*r.base + uint64(b) + 1
	}
	return state
}

// Next moves the window: out leaves it, in enters it.
func (r Rolling) Next(state uint64, out, in byte) uint64 {
	return state*r.base + uint64(in) + 1 - (uint64(out)+1)*r.leave
}

// Fold is the part of a state that is compared.
func (r Rolling) Fold(state uint64) uint16 { return uint16(state * r.mix >> 48) }

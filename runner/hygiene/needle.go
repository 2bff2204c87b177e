package hygiene

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
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

// Put puts the needles of several values together; each gets the number of its
// value.
func Put(key []byte, values ...[]Needle) Needles {
	n := Needles{Key: key}
	for i, needles := range values {
		for _, needle := range needles {
			needle.Value = i
			n.All = append(n.All, needle)
		}
	}
	return n
}

// Digest is the HMAC of a text, filled up as Fill says.
func (n Needles) Digest(text []byte) []byte {
	mac := hmac.New(sha256.New, n.Key)
	mac.Write(text)
	mac.Write(Fill(len(text)))
	return mac.Sum(nil)
}

// Fill is what follows a text of a length before it is hashed: a byte 0x80 and
// zeros to the end of a block. Whoever hashes a value writes whole blocks, of
// which the hash keeps no copy.
func Fill(length int) []byte {
	return append([]byte{0x80}, make([]byte, sha256.BlockSize-1-length%sha256.BlockSize)...)
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

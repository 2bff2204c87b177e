// Package text says what an API token looks like: "creel_" and 64 characters of
// base32 (RFC 4648, in lower case), which are 288 random bits and a checksum of
// them. So whoever looks for lost secrets knows one when he sees it, and a copy
// that lost a character is told without asking creeld.
//
// It imports the standard library alone, since creel links it, and never knows
// whether a token is in force.
package text

import (
	"bytes"
	"encoding/base32"
	"encoding/binary"
	"hash/crc32"
)

const (
	// Prefix begins every token.
	Prefix = "creel_"
	// Length is that of a token in bytes.
	Length = len(Prefix) + encoded
	// RandomBytes is how many a token is made of.
	RandomBytes = 36
)

const (
	alphabet = "abcdefghijklmnopqrstuvwxyz234567"
	checked  = RandomBytes + crc32.Size
	encoded  = checked * 8 / 5
)

// Pattern is a regular expression of tokens (RE2), for who searches.
const Pattern = Prefix + `[a-z2-7]{64}`

var encoding = base32.NewEncoding(alphabet).WithPadding(base32.NoPadding)

// Append writes the token of some random bytes to a buffer. It keeps no copy.
func Append(to []byte, random *[RandomBytes]byte) []byte {
	var whole [checked]byte
	defer clear(whole[:])
	copy(whole[:], random[:])
	binary.BigEndian.PutUint32(whole[RandomBytes:], crc32.ChecksumIEEE(random[:]))
	return encoding.AppendEncode(append(to, Prefix...), whole[:])
}

// Valid says whether a text is that of a token: whole, and with its checksum.
func Valid(text []byte) bool {
	if len(text) != Length || !bytes.HasPrefix(text, []byte(Prefix)) {
		return false
	}
	var whole [checked]byte
	defer clear(whole[:])
	n, err := encoding.Decode(whole[:], text[len(Prefix):])
	return err == nil && n == checked && binary.BigEndian.Uint32(whole[RandomBytes:]) == crc32.ChecksumIEEE(whole[:RandomBytes])
}

package store

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/credential"
	"github.com/creel-sandbox/creel/runner/credential/locked"
	"github.com/creel-sandbox/creel/runner/registers"
)

// The bounds of a store.
const (
	maxSecrets = 1000
	maxPlain   = 4 << 20 // bytes of what is encrypted
)

// block is what the length of the plaintext is a multiple of, so that the
// file's tells little of how many secrets there are and how long they are.
const block = 4 << 10

// version is that of the form below.
const version = 1

// keySize is AES-256's, and overhead what sealing adds: a random nonce and a
// tag (NIST SP 800-38D).
const (
	keySize  = 32
	overhead = 12 + 16
)

// contents is what the age file holds, as JSON.
type contents struct {
	Version int `json:"version"`
	// Key seals the values. It is made with the store, and never leaves it.
	Key     []byte   `json:"key"`
	Secrets []record `json:"secrets"` // by name
}

// record is one secret.
type record struct {
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	Rotated time.Time `json:"rotated"`
	Sealed  []byte    `json:"sealed"`
}

func newContents() *contents {
	c := &contents{Version: version, Key: make([]byte, keySize)}
	rand.Read(c.Key) // never fails (crypto/rand)
	return c
}

// wipe forgets the key.
func (c *contents) wipe() { clear(c.Key) }

// parse reads what encode wrote, and nothing else: what is odd in a file that
// only this package writes is a fault, and not to be guessed at.
func parse(plain []byte) (*contents, error) {
	if len(plain) > maxPlain {
		return nil, fmt.Errorf("read contents: more than %d bytes", maxPlain)
	}
	var c contents
	if err := api.Decode(plain, &c); err != nil {
		c.wipe()
		return nil, errors.New("read contents: they are not in the form that creel writes") // what JSON says may quote them
	}
	if err := c.check(); err != nil {
		c.wipe()
		return nil, fmt.Errorf("read contents: %w", err)
	}
	return &c, nil
}

func (c *contents) check() error {
	switch {
	case c.Version != version:
		return fmt.Errorf("version %d: this creel knows %d", c.Version, version)
	case len(c.Key) != keySize:
		return errors.New("there is no key in them")
	case len(c.Secrets) > maxSecrets:
		return fmt.Errorf("more than %d secrets", maxSecrets)
	}
	before := ""
	for i := range c.Secrets {
		r := &c.Secrets[i]
		if err := policy.CheckSecretName(r.Name); err != nil {
			return err
		}
		switch {
		case r.Name <= before:
			return fmt.Errorf("secret %s: out of order, or twice", r.Name)
		case r.Created.IsZero() || r.Rotated.IsZero():
			return fmt.Errorf("secret %s: without a date", r.Name)
		case len(r.Sealed) < overhead+credential.MinValue || len(r.Sealed) > overhead+credential.MaxValue:
			return fmt.Errorf("secret %s: of a length that no value has", r.Name)
		}
		before = r.Name
	}
	return nil
}

// encode is JSON, and blanks up to the end of a block.
func (c *contents) encode() ([]byte, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode contents: %w", err)
	}
	defer clear(text)
	length := (len(text) + block - 1) / block * block
	if length > maxPlain {
		return nil, fmt.Errorf("%w: it has %d bytes at most", ErrFull, maxPlain)
	}
	plain := bytes.Repeat([]byte(" "), length)
	copy(plain, text)
	return plain, nil
}

func (c *contents) position(name string) (int, bool) {
	return slices.BinarySearchFunc(c.Secrets, name, func(r record, name string) int { return strings.Compare(r.Name, name) })
}

// find is the secret of a name, or nil.
func (c *contents) find(name string) *record {
	if i, ok := c.position(name); ok {
		return &c.Secrets[i]
	}
	return nil
}

// add seals the value into a record whose name is not taken.
func (c *contents) add(r record, value credential.Secret) error {
	if len(c.Secrets) >= maxSecrets {
		return fmt.Errorf("%w: it has %d secrets at most", ErrFull, maxSecrets)
	}
	if err := credential.CheckValue(value); err != nil {
		return err
	}
	aead, err := c.aead()
	if err != nil {
		return err
	}
	defer registers.Clear()
	r.Sealed = aead.Seal(nil, nil, value.Reveal(), label(r.Name))
	i, _ := c.position(r.Name)
	c.Secrets = slices.Insert(c.Secrets, i, r)
	return nil
}

func (c *contents) remove(name string) bool {
	i, ok := c.position(name)
	if ok {
		c.Secrets = slices.Delete(c.Secrets, i, i+1)
	}
	return ok
}

// open is the one place where a value is in the clear.
func (c *contents) open(r *record) (credential.Secret, error) {
	aead, err := c.aead()
	if err != nil {
		return credential.Secret{}, err
	}
	defer registers.Clear()
	value, err := locked.New(len(r.Sealed) - overhead)
	if err != nil {
		return credential.Secret{}, fmt.Errorf("open secret %s: %w", r.Name, err)
	}
	if _, err = aead.Open(value.Bytes()[:0], nil, r.Sealed, label(r.Name)); err != nil {
		value.Free()
		return credential.Secret{}, fmt.Errorf("open secret %s: %w", r.Name, err)
	}
	return credential.Lock(value), nil
}

// holds says whether a secret has this value.
func (c *contents) holds(r *record, value credential.Secret) (bool, error) {
	has, err := c.open(r)
	if err != nil {
		return false, err
	}
	defer registers.Clear()
	defer has.Destroy()
	return subtle.ConstantTimeCompare(has.Reveal(), value.Reveal()) == 1, nil
}

// aead is AES-256-GCM with a random nonce for each value, of which there may
// be 2^32 with one key (SP 800-38D, 8.3).
func (c *contents) aead() (cipher.AEAD, error) {
	cipherBlock, err := aes.NewCipher(c.Key)
	if err != nil {
		return nil, fmt.Errorf("use key of values: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(cipherBlock)
	if err != nil {
		return nil, fmt.Errorf("use key of values: %w", err)
	}
	return aead, nil
}

// label binds a value to its name.
func label(name string) []byte { return []byte("creel secret " + name) }

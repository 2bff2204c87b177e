package store

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"

	"filippo.io/age"
)

// key is what a store is encrypted to and decrypted with.
type key struct {
	identity  age.Identity
	recipient age.Recipient
}

// NewKey makes a key, in the one line that a key file holds. It is of age's
// post-quantum kind (MLKEM768-X25519): a copy of the file that is taken today
// stays closed when X25519 alone no longer is enough, and nobody types it.
func NewKey() (string, error) {
	identity, err := age.GenerateHybridIdentity()
	if err != nil {
		return "", fmt.Errorf("make key: %w", err)
	}
	return identity.String() + "\n", nil
}

// errNoKey stands for every way in which a text is no key: what age says of it
// can quote it.
var errNoKey = errors.New("it is not one age identity (AGE-SECRET-KEY-…): `creeld --new-secrets-key` makes one")

// parseKey reads one identity of a kind that is a pair of keys: the hybrid one,
// or X25519, which is all that an older age-keygen makes. age's own format of
// files of identities allows comments.
func parseKey(text []byte) (*key, error) {
	identities, err := age.ParseIdentities(bytes.NewReader(text))
	if err != nil || len(identities) != 1 {
		return nil, errNoKey
	}
	switch identity := identities[0].(type) {
	case *age.HybridIdentity:
		return &key{identity, identity.Recipient()}, nil
	case *age.X25519Identity:
		return &key{identity, identity.Recipient()}, nil
	}
	return nil, errNoKey
}

// errOtherKey says so without the recipients that the file names.
var errOtherKey = errors.New("it was written with another key than the one there is now; put that one back, or move the file away to begin anew")

func decrypt(sealed []byte, key *key) (*contents, error) {
	reader, err := age.Decrypt(bytes.NewReader(sealed), key.identity)
	var noMatch *age.NoIdentityMatchError
	if errors.As(err, &noMatch) {
		return nil, errOtherKey
	}
	if err != nil {
		return nil, fmt.Errorf("decrypt: %w", err)
	}
	plain := make([]byte, len(sealed)) // what is decrypted is shorter
	defer clear(plain)
	n := 0
	for err == nil && n < len(plain) {
		var more int
		more, err = reader.Read(plain[n:])
		n += more
	}
	if err != io.EOF { // age says ErrUnexpectedEOF of a file that was cut
		return nil, fmt.Errorf("decrypt: %w", cmp.Or(err, io.ErrShortBuffer))
	}
	return parse(plain[:n])
}

func encrypt(c *contents, key *key) ([]byte, error) {
	plain, err := c.encode()
	if err != nil {
		return nil, err
	}
	defer clear(plain)
	var sealed bytes.Buffer
	writer, err := age.Encrypt(&sealed, key.recipient)
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	if _, err := writer.Write(plain); err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	if err := writer.Close(); err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	return sealed.Bytes(), nil
}

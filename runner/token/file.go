package token

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/privatefile"
)

// fileName is that of the book, in its directory.
const fileName = "tokens.json"

// maxFile bounds what is read of the file: MaxTokens with lists of some length.
const maxFile = 4 << 20

const version = 1

// contents is the file.
type contents struct {
	Version int      `json:"version"`
	Tokens  []record `json:"tokens"`
}

// record is what is written down of a token: all but the token.
type record struct {
	Name string `json:"name"`
	Scope
	SHA256  string    `json:"sha256"` // of the text, in hexadecimal
	Created time.Time `json:"created"`
	Made    time.Time `json:"made"`
	Expires time.Time `json:"expires"`
	Used    time.Time `json:"used,omitzero"`
}

func (r *record) digest() (digest [sha256.Size]byte, err error) {
	sum, err := hex.DecodeString(r.SHA256)
	if err != nil || len(sum) != sha256.Size {
		return digest, errors.New("its digest is none of SHA-256")
	}
	return [sha256.Size]byte(sum), nil
}

// check refuses what this package does not write, a life of more than MaxLife
// too.
func (r *record) check() error {
	if err := errors.Join(policy.CheckTokenName(r.Name), r.Scope.check()); err != nil {
		return err
	}
	life := r.Expires.Sub(r.Made)
	if r.Created.IsZero() || r.Made.IsZero() || life <= 0 || life > MaxLife {
		return fmt.Errorf("its life is not one of at most %d days", MaxLife/(24*time.Hour))
	}
	return nil
}

// file is the book on the disk: its directory, which is made by the first read.
type file string

// read gives what is in the file; nothing, where there is none yet.
func (f file) read() ([]record, error) {
	dir, err := privatefile.Make(string(f))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	data, err := dir.Read(fileName, maxFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	records, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; without it all tokens must be made anew", filepath.Join(string(f), fileName), err)
	}
	return records, nil
}

// parse reads what encode wrote, and nothing else.
func parse(data []byte) ([]record, error) {
	var c contents
	if err := api.Decode(data, &c); err != nil {
		return nil, err
	}
	switch {
	case c.Version != version:
		return nil, fmt.Errorf("version %d: this creel knows %d", c.Version, version)
	case len(c.Tokens) > MaxTokens:
		return nil, fmt.Errorf("more than %d tokens", MaxTokens)
	}
	before := ""
	for i := range c.Tokens {
		r := &c.Tokens[i]
		if err := r.check(); err != nil {
			return nil, fmt.Errorf("token %.80q: %w", r.Name, err)
		}
		if r.Name <= before {
			return nil, fmt.Errorf("token %s: out of order, or twice", r.Name)
		}
		before = r.Name
	}
	return c.Tokens, nil
}

// write replaces the file, for good once it returns.
func (f file) write(records []record) error {
	slices.SortFunc(records, func(a, b record) int { return strings.Compare(a.Name, b.Name) })
	data, err := json.MarshalIndent(contents{version, records}, "", "  ")
	if err != nil {
		return fmt.Errorf("encode book of tokens: %w", err)
	}
	if len(data) > maxFile {
		return fmt.Errorf("write book of tokens: %w", ErrFull)
	}
	dir, err := privatefile.Open(string(f))
	if err != nil {
		return fmt.Errorf("write book of tokens: %w", err)
	}
	defer dir.Close()
	if err := dir.Write(fileName, data); err != nil {
		return fmt.Errorf("write book of tokens: %w", err)
	}
	return nil
}

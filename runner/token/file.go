package token

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
)

// The names in the directory. partial is what becomes the file.
const (
	fileName = "tokens.json"
	partial  = fileName + ".partial"
)

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

// file is the book on the disk. All that is done in its directory is done by
// descriptor.
type file struct{ root *os.Root }

// openFile makes the directory where there is none, and wants it to be this
// user's alone.
func openFile(dir string) (file, error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o711); err != nil { // images are below it too
		return file{}, err
	}
	switch err := os.Mkdir(dir, 0o700); {
	case err == nil:
		if err := syncDir(filepath.Dir(dir)); err != nil {
			return file{}, err
		}
	case !errors.Is(err, fs.ErrExist):
		return file{}, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return file{}, err
	}
	info, err := root.Stat(".")
	if err == nil {
		err = private(info, dir, "0700")
	}
	if err != nil {
		return file{}, errors.Join(err, root.Close())
	}
	return file{root}, nil
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func (f file) close() error { return f.root.Close() }

// private accepts what is this user's, and no one else's to use.
func private(info fs.FileInfo, path, mode string) error {
	if st := info.Sys().(*syscall.Stat_t); st.Uid != uint32(os.Geteuid()) {
		return fmt.Errorf("%s: owned by uid %d; chown it to root", path, st.Uid)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s: mode %04o lets others use it; chmod %s", path, info.Mode().Perm(), mode)
	}
	return nil
}

// read gives what is in the file; nothing, where there is none yet.
func (f file) read() ([]record, error) {
	path := filepath.Join(f.root.Name(), fileName)
	// O_NONBLOCK: opening a FIFO must not wait for its writer.
	open, err := f.root.OpenFile(fileName, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer open.Close()
	info, err := open.Stat()
	if err == nil {
		err = private(info, path, "0600")
	}
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: not a regular file", path)
	}
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(open, maxFile+1))
	if err != nil {
		return nil, err
	}
	records, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; without it all tokens must be made anew", path, err)
	}
	return records, nil
}

// parse reads what encode wrote, and nothing else.
func parse(data []byte) ([]record, error) {
	var c contents
	if len(data) > maxFile {
		return nil, fmt.Errorf("more than %d bytes", maxFile)
	}
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

// write replaces the file, for good once it returns: before the rename a crash
// leaves the old one, after it the new one, whole (rename(2), fsync(2)).
func (f file) write(records []record) (err error) {
	slices.SortFunc(records, func(a, b record) int { return strings.Compare(a.Name, b.Name) })
	data, err := json.MarshalIndent(contents{version, records}, "", "  ")
	if err != nil {
		return fmt.Errorf("encode book of tokens: %w", err)
	}
	if len(data) > maxFile {
		return fmt.Errorf("write book of tokens: %w", ErrFull)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("write book of tokens: %w", err)
			_ = f.root.Remove(partial)
		}
	}()
	if err := f.root.Remove(partial); err != nil && !errors.Is(err, fs.ErrNotExist) { // what a crash left
		return err
	}
	made, err := f.root.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = made.Write(data)
	if err := errors.Join(err, made.Sync(), made.Close()); err != nil {
		return err
	}
	if err := f.root.Rename(partial, fileName); err != nil {
		return err
	}
	dir, err := f.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

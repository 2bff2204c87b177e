// Package store keeps secrets in one encrypted file, for people without a
// vault: an age file (age-encryption.org/v1) in a directory that is root's
// alone, whose key comes from elsewhere. It is the provider of "store:NAME".
//
// The age file holds names, dates and, sealed each by itself with a key that
// is in the file too, the values: so a value is opened only when it is asked
// for, straight into locked memory, and passes through no buffer of a library
// that nobody can wipe.
//
// It may import credential, filestate, privatefile, locked, registers, policy (what
// a name is), api (strict JSON), age and the standard library; nothing else may
// import age. It never writes a value or a key to a disk in the clear, never keeps one
// between two calls, and never makes a key by itself: a missing one is an
// error.
package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/credential"
	"github.com/creel-sandbox/creel/runner/filestate"
	"github.com/creel-sandbox/creel/runner/privatefile"
)

// file is its name in a store's directory.
const file = "secrets.age"

// maxFile bounds the file in bytes: age adds a header, and 16 bytes for every
// 64 KiB.
const maxFile = maxPlain + 64<<10

// lockWait is how long a change waits for another one, which takes some
// milliseconds.
const lockWait = 20 * time.Second

// MaxAge is how long a value may stay the same: past it, it is overdue.
const MaxAge = 90 * 24 * time.Hour

// clockSlack is how far in the future a date may be. One beyond it was written
// by a clock that was wrong, and would keep a value from ever being overdue.
const clockSlack = 24 * time.Hour

// What a change is refused for.
var (
	ErrKey     = errors.New("there is no key for the store of secrets")
	ErrExists  = errors.New("there is a secret of this name")
	ErrMissing = errors.New("there is no secret of this name")
	ErrSame    = errors.New("the value is the one that it has")
	ErrFull    = errors.New("the store is full")
)

// Config says where a store is.
type Config struct {
	// Dir is the directory of the file, with mode 0700. The first secret makes
	// it.
	Dir string
	// Key gives an age identity, as age-keygen or NewKey writes it. It is
	// asked for at each use of the file, and wiped after it.
	Key func() (credential.Secret, error)
	// Now is the clock; nil for the host's.
	Now func() time.Time
}

// Store is safe for use by many, in several processes too: every use reads the
// file anew, and a change excludes other changes.
type Store struct {
	cfg    Config
	strict atomic.Bool
}

var (
	_ credential.Provider = (*Store)(nil)
	_ credential.Keeper   = (*Store)(nil)
)

// New returns the store of a directory. It touches nothing.
func New(cfg Config) *Store {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Store{cfg: cfg}
}

// SetStrict says whether values that are overdue are refused.
func (s *Store) SetStrict(strict bool) { s.strict.Store(strict) }

// Info is what may be told of a secret.
type Info struct {
	Name    string
	Created time.Time
	Rotated time.Time // when it got the value it has
	// Age is that of the value, and Overdue says that it is beyond MaxAge, or
	// that its date is in the future and so says nothing.
	Age     time.Duration
	Overdue bool
}

// Told says how old the value is, or why that is not known.
func (i Info) Told() string {
	day := i.Rotated.Format(time.DateOnly)
	if i.Age < -clockSlack {
		return "its value is of " + day + ", which has not come: this clock is wrong or that one was"
	}
	return fmt.Sprintf("its value is of %s, and %d days are the most", day, MaxAge/(24*time.Hour))
}

func (s *Store) info(r *record) Info {
	age := s.cfg.Now().Sub(r.Rotated)
	return Info{Name: r.Name, Created: r.Created, Rotated: r.Rotated, Age: age, Overdue: age > MaxAge || age < -clockSlack}
}

// State implements credential.Keeper. A value changes with the one file alone.
func (s *Store) State(string) filestate.State { return filestate.Of(filepath.Join(s.cfg.Dir, file)) }

// Fetch opens the secret that the reference names, as it is now.
func (s *Store) Fetch(_ context.Context, ask credential.Ask) (credential.Grant, error) {
	name := ask.Reference
	if err := policy.CheckSecretName(name); err != nil {
		return credential.Grant{}, fmt.Errorf("check name: %w", err)
	}
	c, err := s.read()
	if err != nil {
		return credential.Grant{}, err
	}
	defer c.wipe()
	r := c.find(name)
	if r == nil {
		return credential.Grant{}, fmt.Errorf("find secret: %w; `creel secret set %s`, as root, makes it", ErrMissing, name)
	}
	if info := s.info(r); info.Overdue && s.strict.Load() {
		return credential.Grant{}, fmt.Errorf("check age: %s, and 'strict: true' refuses that; get a new one and `creel secret rotate %s`", info.Told(), name)
	}
	secret, err := c.open(r)
	return credential.Grant{Secret: secret}, err
}

// List tells of every secret, by name. Where there is no store there is none,
// and no key is needed.
func (s *Store) List() ([]Info, error) {
	c, err := s.read()
	if err != nil {
		return nil, err
	}
	defer c.wipe()
	all := make([]Info, 0, len(c.Secrets))
	for i := range c.Secrets {
		all = append(all, s.info(&c.Secrets[i]))
	}
	return all, nil
}

// Set adds a secret. It makes the store where there is none, and returns
// ErrExists for one that there is.
func (s *Store) Set(name string, value credential.Secret) error {
	return s.change([]string{name}, func(c *contents) error {
		if c.find(name) != nil {
			return ErrExists
		}
		now := s.cfg.Now().UTC()
		return c.add(record{Name: name, Created: now, Rotated: now}, value)
	})
}

// Rotate gives a secret another value. It returns ErrMissing where there is
// none, and ErrSame where the value is no other.
func (s *Store) Rotate(name string, value credential.Secret) error {
	return s.change([]string{name}, func(c *contents) error {
		r := c.find(name)
		if r == nil {
			return ErrMissing
		}
		if same, err := c.holds(r, value); err != nil || same {
			return errors.Join(err, when(same, ErrSame))
		}
		renewed := record{Name: name, Created: r.Created, Rotated: s.cfg.Now().UTC()}
		c.remove(name)
		return c.add(renewed, value)
	})
}

func when(holds bool, err error) error {
	if holds {
		return err
	}
	return nil
}

// Remove takes secrets out: all of them, or none and ErrMissing. What was
// written before may still be on the disk, encrypted: a value that must not be
// used any more is to be revoked where it was issued.
func (s *Store) Remove(names ...string) error {
	return s.change(names, func(c *contents) error {
		for _, name := range names {
			if !c.remove(name) {
				return fmt.Errorf("%s: %w", name, ErrMissing)
			}
		}
		return nil
	})
}

// read decrypts the file as it is now. Where there is none, it is empty.
func (s *Store) read() (*contents, error) {
	dir, err := privatefile.Open(s.cfg.Dir)
	if err == nil {
		defer dir.Close()
		var sealed []byte
		if sealed, err = dir.Read(file, maxFile); err == nil {
			return s.decrypt(sealed)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return &contents{}, nil
	}
	return nil, fmt.Errorf("read store of secrets: %w", err)
}

// change reads, changes and writes the file, while nobody else does.
func (s *Store) change(names []string, change func(*contents) error) error {
	for _, name := range names {
		if err := policy.CheckSecretName(name); err != nil {
			return fmt.Errorf("check name: %w", err)
		}
	}
	key, err := s.key() // before anything is made, and for an empty store too
	if err != nil {
		return err
	}
	dir, err := privatefile.Make(s.cfg.Dir)
	if err != nil {
		return fmt.Errorf("open store of secrets: %w", err)
	}
	defer dir.Close()
	if err := dir.Lock(lockWait); err != nil {
		return fmt.Errorf("lock store of secrets: %w", err)
	}
	sealed, err := dir.Read(file, maxFile)
	c := newContents()
	switch {
	case err == nil:
		c, err = decrypt(sealed, key)
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	}
	if err != nil {
		return fmt.Errorf("read store of secrets: %w", err)
	}
	defer c.wipe()
	if err := change(c); err != nil {
		return err
	}
	if sealed, err = encrypt(c, key); err != nil {
		return fmt.Errorf("write store of secrets: %w", err)
	}
	if err := dir.Write(file, sealed); err != nil {
		return fmt.Errorf("write store of secrets: %w", err)
	}
	return nil
}

func (s *Store) key() (*key, error) {
	text, err := s.cfg.Key()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	defer text.Destroy()
	key, err := parseKey(text.Reveal())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return key, nil
}

func (s *Store) decrypt(sealed []byte) (*contents, error) {
	key, err := s.key()
	if err != nil {
		return nil, err
	}
	c, err := decrypt(sealed, key)
	if err != nil {
		return nil, fmt.Errorf("read store of secrets: %w", err)
	}
	return c, nil
}

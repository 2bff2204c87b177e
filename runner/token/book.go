package token

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/token/text"
)

// usedDelay is how long after a token's use that is written down: not for each
// command.
const usedDelay = time.Minute

// Config says where a book is.
type Config struct {
	// Dir is its directory, with mode 0700, which Open makes. No other process
	// may use it while the book is open.
	Dir string
	// Now is the clock; nil for the host's.
	Now func() time.Time
	Log logrus.FieldLogger
}

// Book is safe for use by many.
type Book struct {
	file file
	now  func() time.Time
	log  logrus.FieldLogger

	changing sync.Mutex // held by who changes the file
	mu       sync.Mutex
	entries  map[string]*entry // by name
	save     *time.Timer       // will write down when tokens were used; nil: there is nothing new
	closed   bool
}

// Open reads the book. A file that is not as this package writes it is an
// error: a token that was revoked must not come back.
func Open(cfg Config) (*Book, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	b := &Book{file: file(cfg.Dir), now: cfg.Now, log: cfg.Log, entries: map[string]*entry{}}
	records, err := b.file.read()
	if err != nil {
		return nil, fmt.Errorf("read book of tokens: %w", err)
	}
	for _, r := range records {
		if err := b.enter(r); err != nil {
			_ = b.Close()
			return nil, fmt.Errorf("read book of tokens: token %s: %w", r.Name, err)
		}
	}
	return b, nil
}

// enter puts what was read in force.
func (b *Book) enter(r record) error {
	digest, err := r.digest()
	if err != nil {
		return err
	}
	e, err := newEntry(r, digest, b.now())
	if err != nil {
		return err
	}
	b.entries[r.Name] = e
	return nil
}

// Close writes down when tokens were used last, and ends what was begun with
// them.
func (b *Book) Close() error {
	b.mu.Lock()
	b.closed = true
	unsaved := b.save != nil && b.save.Stop()
	for _, e := range b.entries {
		e.end(errClosed)
	}
	b.mu.Unlock()
	if !unsaved {
		return nil
	}
	return b.write()
}

// Create makes the token of an integration, which give is handed before it is
// in force, and then nobody again. It returns ErrExists where there is one.
func (b *Book) Create(name string, scope Scope, life time.Duration, give func(text []byte) error) (Info, error) {
	if err := errors.Join(policy.CheckTokenName(name), scope.check(), checkLife(life)); err != nil {
		return Info{}, err
	}
	return b.put(life, give, func() (record, error) {
		switch {
		case b.entries[name] != nil:
			return record{}, ErrExists
		case len(b.entries) >= MaxTokens:
			return record{}, ErrFull
		}
		return record{Name: name, Scope: scope, Created: b.now().UTC().Truncate(time.Second)}, nil
	})
}

// Rotate gives an integration another token with the scope of the one that it
// has, which ends. A life of zero is that of the former one.
func (b *Book) Rotate(name string, life time.Duration, give func(text []byte) error) (Info, error) {
	b.mu.Lock()
	if e := b.entries[name]; e != nil && life == 0 {
		life = e.Expires.Sub(e.Made)
	}
	b.mu.Unlock()
	return b.put(life, give, func() (record, error) {
		e := b.entries[name]
		if e == nil {
			return record{}, ErrMissing
		}
		if err := checkLife(life); err != nil {
			return record{}, err
		}
		return record{Name: name, Scope: e.Scope, Created: e.Created}, nil
	})
}

// put makes a token for what begin gives, under the lock, and puts it in force
// once it is on the disk.
func (b *Book) put(life time.Duration, give func([]byte) error, begin func() (record, error)) (Info, error) {
	b.changing.Lock()
	defer b.changing.Unlock()
	b.mu.Lock()
	r, err := begin()
	b.mu.Unlock()
	if err != nil {
		return Info{}, err
	}
	digest, err := mint(give)
	if err != nil {
		return Info{}, err
	}
	now := b.now()
	r.Made = now.UTC().Truncate(time.Second)
	r.Expires = r.Made.Add(life)
	r.SHA256 = fmt.Sprintf("%x", digest)
	e, err := newEntry(r, digest, now)
	if err != nil {
		return Info{}, err
	}
	if err := b.file.write(append(b.recordsBut(r.Name), r)); err != nil {
		e.end(err)
		return Info{}, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if old := b.entries[r.Name]; old != nil {
		old.end(errReplaced)
	}
	if b.closed {
		e.end(errClosed)
	}
	b.entries[r.Name] = e
	return e.info(now), nil
}

// Revoke ends tokens, and with each what was begun with it: all of them, or
// none and ErrMissing. They are refused from this moment on, whatever becomes
// of the file; an error after that says that a restart would bring them back.
func (b *Book) Revoke(names ...string) ([]Info, error) {
	b.mu.Lock()
	for _, name := range names {
		if b.entries[name] == nil {
			b.mu.Unlock()
			return nil, fmt.Errorf("find token %.80q: %w", name, ErrMissing)
		}
	}
	ended := b.strike(names)
	b.mu.Unlock()
	b.changing.Lock()
	defer b.changing.Unlock()
	b.mu.Lock()
	b.strike(names) // what a rotation has put in force meanwhile
	b.mu.Unlock()
	if err := b.file.write(b.recordsBut("")); err != nil {
		return ended, fmt.Errorf("write down the revocation, which holds until creeld is restarted: %w", err)
	}
	return ended, nil
}

// strike takes tokens out of the book. It needs the lock.
func (b *Book) strike(names []string) (ended []Info) {
	for _, name := range names {
		if e := b.entries[name]; e != nil {
			ended = append(ended, e.info(b.now()))
			e.end(errRevoked)
			delete(b.entries, name)
		}
	}
	return ended
}

// List tells of every token, by name.
func (b *Book) List() []Info {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := make([]Info, 0, len(b.entries))
	for _, e := range b.entries {
		all = append(all, e.info(b.now()))
	}
	slices.SortFunc(all, byName)
	return all
}

// Use gives the token whose text this is, which stays the caller's. All digests
// are compared, each in constant time. The error is ErrUnknown for what is no
// token in force, and ErrExpired only for who holds the one that has.
func (b *Book) Use(shown []byte) (*Held, error) {
	if len(shown) != text.Length { // its checksum is not looked at: to decode it leaves a copy
		return nil, ErrUnknown
	}
	digest := sha256.Sum256(shown)
	b.mu.Lock()
	defer b.mu.Unlock()
	var found *entry
	for _, e := range b.entries {
		if subtle.ConstantTimeCompare(digest[:], e.digest[:]) == 1 {
			found = e
		}
	}
	if found == nil {
		return nil, ErrUnknown
	}
	now := b.now()
	if err := found.over(now); err != nil {
		return nil, fmt.Errorf("token %s: %w", found.Name, err)
	}
	if found.ended.Err() != nil {
		return nil, fmt.Errorf("token %s: %w", found.Name, ErrExpired)
	}
	found.Used = now.UTC().Truncate(time.Second)
	if b.save == nil && !b.closed {
		b.save = time.AfterFunc(usedDelay, b.saveUse)
	}
	return &Held{found.info(now), found.ended}, nil
}

// saveUse writes down when tokens were used. That it fails makes no token good
// or bad.
func (b *Book) saveUse() {
	b.mu.Lock()
	b.save = nil
	closed := b.closed
	b.mu.Unlock()
	if closed {
		return
	}
	if err := b.write(); err != nil {
		b.log.WithError(err).Warn("writing down when tokens were used failed")
	}
}

func (b *Book) write() error {
	b.changing.Lock()
	defer b.changing.Unlock()
	return b.file.write(b.recordsBut(""))
}

// recordsBut are those of all tokens but the one of this name.
func (b *Book) recordsBut(name string) []record {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []record
	for _, of := range slices.Sorted(maps.Keys(b.entries)) {
		if of != name {
			all = append(all, b.entries[of].record)
		}
	}
	return all
}

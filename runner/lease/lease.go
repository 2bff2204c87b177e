// Package lease is the book of leases: which value a vault has made for which
// sandbox, and by what name it is taken back. A lease is written down before
// its value is used, and struck out once it is revoked or has ended by itself,
// so that a supervisor that was killed is made good by the next one.
//
// It imports credential, for the Revoker interface, policy, privatefile, boottime,
// the standard library and logrus. It never sees a value: what it keeps on disk, an
// accessor, cannot be used in a value's place.
package lease

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/boottime"
	"github.com/creel-sandbox/creel/runner/credential"
)

// The states of a lease.
const (
	Live     = "live"
	Revoking = "revoking" // until the provider has said that it is revoked
	Revoked  = "revoked"
	Expired  = "expired"
)

// Entry is one lease as it is written down.
type Entry struct {
	Sandbox  string    `json:"sandbox"`
	Policy   string    `json:"policy"`
	Variable string    `json:"variable"`
	Provider string    `json:"provider"`
	Accessor string    `json:"accessor"`
	Expires  time.Time `json:"expires"` // zero: nobody knows
}

// Row is one lease as it is shown.
type Row struct {
	Entry
	State string
	// Problem says why the last try to revoke it failed.
	Problem string
}

// lease is an entry and what is done about it.
type lease struct {
	Entry
	ends    boottime.Instant // zero also where a former supervisor wrote it down
	file    string
	state   string
	problem string
	at      chan struct{} // closed once the lease is gone; made when it is to be
	hurry   chan struct{} // a try is wanted now
}

func newLease(entry Entry, file string) *lease {
	return &lease{Entry: entry, file: file, state: Live, hurry: make(chan struct{}, 1)}
}

// Book is safe for use by many.
type Book struct {
	file      store
	providers map[string]credential.Revoker
	log       logrus.FieldLogger

	mu     sync.Mutex
	leases map[*lease]struct{} // those not yet gone
	logins []*lease            // of this process itself
	closed chan struct{}
	tries  sync.WaitGroup
}

// Open reads the book in a directory, which is this supervisor's alone. Without
// a directory nothing can be written down, and so nothing leased.
func Open(dir string, providers map[string]credential.Revoker, log logrus.FieldLogger) (*Book, error) {
	b := &Book{file: store(dir), providers: providers, log: log,
		leases: map[*lease]struct{}{}, closed: make(chan struct{})}
	left, err := b.file.load()
	if err != nil {
		return nil, fmt.Errorf("read book of leases: %w", err)
	}
	for file, entry := range left {
		b.leases[newLease(entry, file)] = struct{}{}
	}
	return b, nil
}

// Recover begins to revoke all that is in the book when it is opened: what a
// former supervisor left. It comes before the first Hold.
func (b *Book) Recover() {
	b.mu.Lock()
	left := slices.Collect(maps.Keys(b.leases))
	b.mu.Unlock()
	for _, l := range left {
		b.log.WithFields(fields(l.Entry)).Warn("revoking a lease that a former supervisor left")
		b.end(l)
	}
}

func fields(e Entry) logrus.Fields {
	return logrus.Fields{"sandbox": e.Sandbox, "policy": e.Policy, "variable": e.Variable, "provider": e.Provider}
}

// Holding is the leases of one sandbox.
type Holding struct {
	book            *Book
	sandbox, policy string
	// Of the book's lock:
	leases   []*lease
	released bool
}

// Hold begins a holding, which must be released.
func (b *Book) Hold(sandbox, policy string) *Holding {
	return &Holding{book: b, sandbox: sandbox, policy: policy}
}

// errReleased says that a lease came when its sandbox was gone.
var errReleased = errors.New("keep lease: its sandbox has ended")

// Keep is credential.Keep: it writes a lease down and, whether that fails or
// not, the book sees to the lease's end.
func (h *Holding) Keep(c policy.Credential, of credential.Lease) error {
	b := h.book
	l, err := b.add(Entry{Sandbox: h.sandbox, Policy: h.policy, Variable: c.Env, Provider: c.Provider}, of)
	b.mu.Lock()
	released := h.released
	h.leases = append(h.leases, l)
	b.mu.Unlock()
	switch {
	case err != nil:
		b.end(l)
		return fmt.Errorf("write lease down: %w", err)
	case released:
		b.end(l)
		return errReleased
	}
	return nil
}

// Discard takes over a lease that no sandbox waits for any more.
func (b *Book) Discard(provider string, of credential.Lease) {
	l, err := b.add(Entry{Provider: provider}, of)
	if err != nil {
		b.log.WithField("provider", provider).WithError(err).Error("a lease could not be written down before it is revoked")
	}
	b.end(l)
}

// Remember writes down a login of this process itself, whose end is the end of
// all that was made with it. The next start revokes it. Those that have ended
// by themselves are struck out meanwhile.
func (b *Book) Remember(provider string, of credential.Lease) {
	b.mu.Lock()
	var over []*lease
	for _, l := range b.logins {
		if l.surelyOver() {
			over = append(over, l)
		}
	}
	b.mu.Unlock()
	for _, l := range over {
		b.strike(l)
	}
	l, err := b.write(Entry{Provider: provider}, of)
	if err != nil {
		b.log.WithField("provider", provider).WithError(err).Error("a login could not be written down")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.logins = append(b.logins, l)
}

// strike takes a login out of the book.
func (b *Book) strike(l *lease) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.logins = slices.DeleteFunc(b.logins, func(other *lease) bool { return other == l })
	b.erase(l)
}

// erase removes what was written down of a lease.
func (b *Book) erase(l *lease) {
	if err := b.file.remove(l.file); err != nil {
		b.log.WithFields(fields(l.Entry)).WithError(err).Error("strike a lease out")
	}
}

// add enters a lease, also where it cannot be written down.
func (b *Book) add(entry Entry, of credential.Lease) (*lease, error) {
	l, err := b.write(entry, of)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leases[l] = struct{}{}
	return l, err
}

func (b *Book) write(entry Entry, of credential.Lease) (*lease, error) {
	entry.Accessor = of.Accessor
	if of.Ends != 0 {
		entry.Expires = time.Now().Add(of.Ends.Until())
	}
	file, err := b.file.write(entry)
	l := newLease(entry, file)
	l.ends = of.Ends
	return l, err
}

// Release begins to revoke all leases of the sandbox. It does not wait.
func (h *Holding) Release() {
	b := h.book
	b.mu.Lock()
	h.released = true
	leases := slices.Clone(h.leases)
	b.mu.Unlock()
	for _, l := range leases {
		b.end(l)
	}
}

// Live says whether all leases of the sandbox are: nobody has begun to revoke
// one, and none has ended by itself.
func (h *Holding) Live() bool {
	return !slices.ContainsFunc(h.List(), func(r Row) bool { return r.State != Live })
}

// List shows the leases of the sandbox, also those that are gone.
func (h *Holding) List() []Row {
	h.book.mu.Lock()
	defer h.book.mu.Unlock()
	return rows(h.leases)
}

// sorted are rows by sandbox and variable.
func sorted(leases []*lease) []Row {
	slices.SortFunc(leases, func(a, c *lease) int {
		return strings.Compare(a.Sandbox+" "+a.Variable, c.Sandbox+" "+c.Variable)
	})
	return rows(leases)
}

func rows(leases []*lease) []Row {
	out := make([]Row, 0, len(leases))
	for _, l := range leases {
		row := Row{Entry: l.Entry, State: l.state, Problem: l.problem}
		if l.state != Revoked && (l.over(time.Now()) || l.ends.Over()) {
			row.State = Expired
		}
		out = append(out, row)
	}
	return out
}

// over says that a lease has ended by itself.
func (l *lease) over(now time.Time) bool { return !l.Expires.IsZero() && now.After(l.Expires) }

// surelyOver says that it has by the provider's clock too.
func (l *lease) surelyOver() bool { return l.over(time.Now().Add(-clockSlack)) }

// Pending lists the leases that are to be revoked and are not yet.
func (b *Book) Pending() []Row {
	b.mu.Lock()
	defer b.mu.Unlock()
	var pending []*lease
	for l := range b.leases {
		if l.state == Revoking {
			pending = append(pending, l)
		}
	}
	return sorted(pending)
}

// Revoke revokes the leases that are wanted now, those too that wait for
// another try, and returns what became of them once all are gone or ctx ends.
func (b *Book) Revoke(ctx context.Context, wanted func(Entry) bool) []Row {
	b.mu.Lock()
	var found []*lease
	for l := range b.leases {
		if wanted(l.Entry) {
			found = append(found, l)
		}
	}
	b.mu.Unlock()
	for _, l := range found {
		b.end(l)
	}
	for _, l := range found {
		select {
		case <-l.at:
		case <-ctx.Done():
		case <-b.closed:
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return sorted(found)
}

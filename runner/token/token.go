// Package token is the book of API tokens: one for each integration that calls
// creeld without the kernel vouching for who it is. What a token may do is
// written beside it; the token itself is nowhere, only its SHA-256. A slow hash,
// as for passwords, would add nothing: those are for what can be guessed, and
// nobody tries 2^288 values, while everybody who connects could have creeld
// compute it.
//
// It imports text (what a token looks like), policy (what names are), api
// (strict JSON), privatefile, boottime, locked, registers, the standard library
// and logrus. It never keeps a token, puts one into an error or a log, or
// decides what a policy allows.
package token

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/boottime"
	"github.com/creel-sandbox/creel/runner/credential/locked"
	"github.com/creel-sandbox/creel/runner/registers"
	"github.com/creel-sandbox/creel/runner/token/text"
)

// The bounds of a token's life.
const (
	MaxLife = 90 * 24 * time.Hour
	MinLife = time.Minute
)

// MaxTokens is how many there can be.
const MaxTokens = 256

// maxListed bounds each list of a Scope.
const maxListed = 256

// clockSlack is how far in the future the day may be on which a token was made.
// One beyond it was made by a clock that was wrong, or this one is.
const clockSlack = 24 * time.Hour

// What is refused.
var (
	ErrUnknown = errors.New("it is no token that is in force here; it may have been revoked or replaced")
	ErrExpired = errors.New("it has expired")
	ErrExists  = errors.New("there is a token of this name")
	ErrMissing = errors.New("there is no token of this name")
	ErrFull    = errors.New("there are as many tokens as there can be")
)

// The causes with which what was begun with a token ends.
var (
	errRevoked  = errors.New("the token was revoked")
	errReplaced = errors.New("the token was replaced by another")
	errClosed   = errors.New("the book of tokens is closed")
)

// Scope is what a token may be used for.
type Scope struct {
	Policies []string `json:"policies"` // each must name the token too
	// Senders and Channels are for whom and from where; none: that is not asked.
	Senders  []string `json:"senders,omitempty"`
	Channels []string `json:"channels,omitempty"`
}

// check refuses what no policy could mean.
func (s Scope) check() error {
	if len(s.Policies) == 0 {
		return errors.New("check policies: none is named, and without one the token is of no use")
	}
	for _, list := range []struct {
		what  string
		words []string
		check func(string) error
	}{
		{"policies", s.Policies, policy.CheckPolicyName}, {"senders", s.Senders, policy.CheckOrigin}, {"channels", s.Channels, policy.CheckOrigin},
	} {
		if len(list.words) > maxListed {
			return fmt.Errorf("check %s: more than %d", list.what, maxListed)
		}
		for i, word := range list.words {
			if err := list.check(word); err != nil {
				return fmt.Errorf("check %s: %w", list.what, err)
			}
			if slices.Contains(list.words[:i], word) {
				return fmt.Errorf("check %s: %s is named twice", list.what, word)
			}
		}
	}
	return nil
}

// Info is what may be told of a token.
type Info struct {
	Name string
	Scope
	Created time.Time // when the integration got its first token
	Made    time.Time // when the one that is in force was
	Expires time.Time
	Used    time.Time // last; zero: never
	Expired bool
}

// Held is a token that somebody has shown.
type Held struct {
	Info
	// Ended is done, with a cause, as soon as the token is over: expired,
	// revoked or replaced.
	Ended context.Context
}

// entry is one token in force.
type entry struct {
	record
	digest [sha256.Size]byte
	ended  context.Context
	end    context.CancelCauseFunc
}

// newEntry puts a record in force until it expires by a clock that nobody can
// set back and that goes on while the machine sleeps.
func newEntry(r record, digest [sha256.Size]byte, now time.Time) (*entry, error) {
	e := &entry{record: r, digest: digest}
	e.ended, e.end = context.WithCancelCause(context.Background())
	if err := r.over(now); err != nil {
		e.end(err)
		return e, nil
	}
	alarm, err := boottime.NewAlarm(boottime.Now().Add(r.Expires.Sub(now)))
	if err != nil {
		return nil, err
	}
	go func() {
		defer alarm.Stop()
		select {
		case <-alarm.C:
			e.end(ErrExpired)
		case <-e.ended.Done():
		}
	}()
	return e, nil
}

// over says why a token is not good any more, or nil.
func (r *record) over(now time.Time) error {
	switch {
	case !now.Before(r.Expires):
		return fmt.Errorf("%w on %s", ErrExpired, r.Expires.Format(time.DateOnly))
	case now.Before(r.Made.Add(-clockSlack)):
		return fmt.Errorf("it was made on %s, which has not come: this clock is wrong or that one was", r.Made.Format(time.DateOnly))
	}
	return nil
}

func (e *entry) info(now time.Time) Info {
	return Info{Name: e.Name, Scope: e.Scope, Created: e.Created, Made: e.Made, Expires: e.Expires, Used: e.Used,
		Expired: e.over(now) != nil || e.ended.Err() != nil}
}

// checkLife refuses a life that is not between MinLife and MaxLife.
func checkLife(life time.Duration) error {
	if life < MinLife || life > MaxLife {
		return fmt.Errorf("check life: a token lasts from %s to %d days", MinLife, MaxLife/(24*time.Hour))
	}
	return nil
}

// mint makes a token, in locked memory, and gives it to whoever it is for.
// What is left of it is its digest.
func mint(give func(text []byte) error) (digest [sha256.Size]byte, err error) {
	defer registers.Clear()
	random, err := locked.New(text.RandomBytes)
	if err != nil {
		return digest, fmt.Errorf("make token: %w", err)
	}
	defer random.Free()
	written, err := locked.New(text.Length)
	if err != nil {
		return digest, fmt.Errorf("make token: %w", err)
	}
	defer written.Free()
	rand.Read(random.Bytes()) // never fails (crypto/rand)
	token := text.Append(written.Bytes()[:0], (*[text.RandomBytes]byte)(random.Bytes()))
	digest = sha256.Sum256(token)
	if err := give(token); err != nil {
		return digest, fmt.Errorf("hand over token: %w", err)
	}
	return digest, nil
}

func byName(a, b Info) int { return strings.Compare(a.Name, b.Name) }

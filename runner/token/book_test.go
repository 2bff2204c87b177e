package token

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/creel-sandbox/creel/runner/token/text"
)

// day is the clock of these tests.
var day = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// rig is a book with a clock of its own, and what was logged.
type rig struct {
	*Book
	t   *testing.T
	dir string
	mu  sync.Mutex
	now time.Time
	log bytes.Buffer
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, dir: filepath.Join(t.TempDir(), "state", "tokens"), now: day}
	r.open()
	return r
}

func (r *rig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

// at sets the clock to a while after the first day.
func (r *rig) at(since time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = day.Add(since)
}

func (r *rig) open() {
	r.t.Helper()
	log := logrus.New()
	log.SetOutput(&r.log)
	book, err := Open(Config{Dir: r.dir, Now: r.clock, Log: log})
	check(r.t, err)
	r.Book = book
	r.t.Cleanup(func() { book.Close() })
}

// reopen is a restart of creeld.
func (r *rig) reopen() {
	r.t.Helper()
	check(r.t, r.Close())
	r.open()
}

// create makes a token for exec-default.
func (r *rig) create(name string, life time.Duration) string {
	r.t.Helper()
	return r.made(func(give func([]byte) error) error {
		_, err := r.Create(name, Scope{Policies: []string{"exec-default"}}, life, give)
		return err
	})
}

func (r *rig) rotate(name string) string {
	r.t.Helper()
	return r.made(func(give func([]byte) error) error {
		_, err := r.Rotate(name, 0, give)
		return err
	})
}

// made gives the text that was handed over.
func (r *rig) made(make func(give func([]byte) error) error) (token string) {
	r.t.Helper()
	check(r.t, make(func(text []byte) error { token = string(text); return nil }))
	if !text.Valid([]byte(token)) {
		r.t.Fatalf("%d bytes were handed over, and no token", len(token))
	}
	return token
}

// good fails unless a token is in force, by this name.
func (r *rig) good(token, name string) *Held {
	r.t.Helper()
	held, err := r.Use([]byte(token))
	if err != nil || held.Name != name || held.Ended.Err() != nil {
		r.t.Fatalf("the token of %s: %+v, %v", name, held, err)
	}
	return held
}

// refused fails unless a token is refused with an error, which does not hold it.
func (r *rig) refused(token string, want error) {
	r.t.Helper()
	held, err := r.Use([]byte(token))
	if held != nil || !errors.Is(err, want) {
		r.t.Errorf("%+v, %v, want %v", held, err, want)
	} else if strings.Contains(err.Error(), text.Prefix) {
		r.t.Errorf("an error holds the token: %v", err)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTokenIsInForceUntilItIsReplacedOrRevoked(t *testing.T) {
	r := newRig(t)
	first, other := r.create("ci", time.Hour), r.create("cron", time.Hour)
	if first == other {
		t.Fatal("two tokens are one")
	}
	held := r.good(first, "ci")
	if !slices.Equal(held.Policies, []string{"exec-default"}) {
		t.Errorf("its policies are %v", held.Policies)
	}
	if _, err := r.Create("ci", held.Scope, time.Hour, func([]byte) error { t.Error("one was handed over"); return nil }); !errors.Is(err, ErrExists) {
		t.Errorf("a second token of one name: %v", err)
	}
	second := r.rotate("ci")
	r.refused(first, ErrUnknown)
	if cause := context.Cause(held.Ended); cause != errReplaced {
		t.Errorf("what was begun with the former token: %v", cause)
	}
	r.good(second, "ci")
	r.reopen()
	r.refused(first, ErrUnknown)
	held = r.good(second, "ci")
	if ended, err := r.Revoke("ci"); err != nil || len(ended) != 1 || ended[0].Name != "ci" {
		t.Errorf("revoke: %+v, %v", ended, err)
	}
	if cause := context.Cause(held.Ended); cause != errRevoked {
		t.Errorf("what was begun with the revoked token: %v", cause)
	}
	r.refused(second, ErrUnknown)
	r.reopen()
	r.refused(second, ErrUnknown)
	r.good(other, "cron")
	if _, err := r.Revoke("cron", "ci"); !errors.Is(err, ErrMissing) {
		t.Errorf("revoke of one that is not: %v", err)
	}
	r.good(other, "cron")
	if _, err := r.Rotate("ci", 0, func([]byte) error { return nil }); !errors.Is(err, ErrMissing) {
		t.Errorf("rotation of one that is not: %v", err)
	}
}

func TestWhatIsNoTokenInForceIsUnknown(t *testing.T) {
	r := newRig(t)
	token := r.create("ci", time.Hour)
	elsewhere := newRig(t).create("ci", time.Hour)
	digest := r.recordsBut("")[0].SHA256
	for name, other := range map[string]string{
		"of another supervisor": elsewhere, "nothing": "", "its digest": digest, "prefix and digest": text.Prefix + digest,
		"truncated": token[:len(token)-1], "with a newline": token + "\n", "in upper case": strings.ToUpper(token), "its name": "ci",
		"doubled": token + token, "NUL-terminated": token + "\x00", "4 MiB": strings.Repeat("a", 4<<20),
	} {
		if _, err := r.Use([]byte(other)); err != ErrUnknown {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.good(token, "ci")
}

func TestTokenEndsWithItsLife(t *testing.T) {
	r := newRig(t)
	token := r.create("ci", MaxLife)
	r.at(MaxLife - time.Second)
	r.good(token, "ci")
	r.at(MaxLife)
	r.refused(token, ErrExpired)
	if got := r.List(); len(got) != 1 || !got[0].Expired || got[0].Expires != day.Add(MaxLife) {
		t.Errorf("listed as %+v", got)
	}
	r.reopen()
	r.refused(token, ErrExpired)
	if _, err := r.Use([]byte(token)); !strings.Contains(err.Error(), "expired on 2026-08-30") {
		t.Errorf("who holds it is told %v", err)
	}
	renewed := r.rotate("ci") // as long as the one before
	r.refused(token, ErrUnknown)
	if held := r.good(renewed, "ci"); held.Expires != day.Add(2*MaxLife) || held.Created != day {
		t.Errorf("renewed: %+v", held.Info)
	}
	r.at(-2 * clockSlack) // a clock that was set back gives no token more life
	if _, err := r.Use([]byte(renewed)); err == nil {
		t.Error("good long before it was made")
	}
}

// The clock that ends what runs is one that nobody sets.
func TestWhatWasBegunEndsWithTheToken(t *testing.T) {
	r := newRig(t)
	short := record{Name: "ci", Made: day, Expires: day.Add(20 * time.Millisecond)}
	e, err := newEntry(short, [32]byte{}, day)
	check(t, err)
	<-e.ended.Done() // or the test's own time is up
	if cause := context.Cause(e.ended); cause != ErrExpired {
		t.Errorf("cause %v", cause)
	}
	if held := r.good(r.create("cron", time.Hour), "cron"); held.Ended.Err() != nil {
		t.Error("control: one with an hour to go has ended")
	}
}

func TestLifeBeyondNinetyDaysIsRefused(t *testing.T) {
	r := newRig(t)
	none := func([]byte) error { t.Error("a token was handed over"); return nil }
	for _, life := range []time.Duration{MaxLife + 1, MinLife - 1, 0, -time.Hour, 1 << 62} {
		if _, err := r.Create("ci", Scope{Policies: []string{"p"}}, life, none); err == nil {
			t.Errorf("a token that lasts %v", life)
		}
	}
	token := r.create("ci", MaxLife)
	if _, err := r.Rotate("ci", MaxLife+1, none); err == nil {
		t.Error("a rotation to one that lasts too long")
	}
	r.good(token, "ci")
	check(t, r.Close())
	// Nor does it come from the file.
	path := filepath.Join(r.dir, fileName)
	data, err := os.ReadFile(path)
	check(t, err)
	longer := strings.Replace(string(data), day.Add(MaxLife).Format(time.RFC3339), day.Add(MaxLife+time.Second).Format(time.RFC3339), 1)
	check(t, os.WriteFile(path, []byte(longer), 0o600))
	if _, err := Open(Config{Dir: r.dir, Now: r.clock, Log: logrus.New()}); longer == string(data) || err == nil || !strings.Contains(err.Error(), "90 days") {
		t.Errorf("the file: %v", err)
	}
}

func TestScopeNamesWhatCanBe(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		name  string
		scope Scope
	}{
		{"ci", Scope{}}, {"ci", Scope{Policies: []string{""}}}, {"ci", Scope{Policies: []string{"../p"}}}, {"ci", Scope{Policies: []string{"p", "p"}}},
		{"ci", Scope{Policies: []string{"*"}}}, {"ci", Scope{Policies: []string{"p"}, Senders: []string{"telegram:*"}}},
		{"ci", Scope{Policies: []string{"p"}, Channels: []string{"somewhere"}}}, {"", Scope{Policies: []string{"p"}}},
		{"../ci", Scope{Policies: []string{"p"}}}, {"CI", Scope{Policies: []string{"p"}}}, {"a b", Scope{Policies: []string{"p"}}},
		{"ci", Scope{Policies: slices.Repeat([]string{"p"}, maxListed+1)}},
	} {
		if _, err := r.Create(c.name, c.scope, time.Hour, func([]byte) error { t.Error("a token was handed over"); return nil }); err == nil {
			t.Errorf("%q with %+v was made", c.name, c.scope)
		}
	}
	token := r.made(func(give func([]byte) error) error {
		_, err := r.Create("ci", Scope{Policies: []string{"p", "q"}, Senders: []string{"telegram:1"}, Channels: []string{"slack:C1"}}, time.Hour, give)
		return err
	})
	r.reopen()
	if held := r.good(r.rotate("ci"), "ci"); fmt.Sprint(held.Scope) != "{[p q] [telegram:1] [slack:C1]}" {
		t.Errorf("its scope is %v", held.Scope)
	}
	r.refused(token, ErrUnknown)
}

func TestNumberOfTokensIsBounded(t *testing.T) {
	r := newRig(t)
	for i := range MaxTokens {
		e, err := newEntry(record{Name: fmt.Sprintf("t%03d", i), Scope: Scope{Policies: []string{"p"}}, Made: day, Created: day, Expires: day.Add(time.Hour)}, [32]byte{byte(i)}, day)
		check(t, err)
		r.entries[e.Name] = e
	}
	if _, err := r.Create("one-more", Scope{Policies: []string{"p"}}, time.Hour, func([]byte) error { return nil }); !errors.Is(err, ErrFull) {
		t.Errorf("one more: %v", err)
	}
	if _, err := r.Revoke("t000"); err != nil {
		t.Fatal(err)
	}
	r.create("one-more", time.Hour)
}

// A token that could not be handed over is in force for nobody.
func TestTokenThatNobodyGotIsNotInForce(t *testing.T) {
	r := newRig(t)
	gone := errors.New("nobody is there")
	if _, err := r.Create("ci", Scope{Policies: []string{"p"}}, time.Hour, func([]byte) error { return gone }); !errors.Is(err, gone) || len(r.List()) != 0 {
		t.Errorf("%v, %v", err, r.List())
	}
	token := r.create("ci", time.Hour)
	if _, err := r.Rotate("ci", 0, func([]byte) error { return gone }); !errors.Is(err, gone) {
		t.Error(err)
	}
	r.good(token, "ci")
}

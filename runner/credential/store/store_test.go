package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/runner/credential"
	"github.com/creel-sandbox/creel/runner/credential/locked"
	"github.com/creel-sandbox/creel/runner/privatefile"
)

// rig is a store in a directory of its own.
type rig struct {
	*Store
	t   *testing.T
	dir string
	key string
	now time.Time
}

func newRig(t *testing.T) *rig {
	t.Helper()
	key, err := NewKey()
	check(t, err)
	r := &rig{t: t, dir: filepath.Join(t.TempDir(), "secrets"), key: key, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	r.Store = New(Config{Dir: r.dir, Key: r.giveKey, Now: func() time.Time { return r.now }})
	return r
}

func (r *rig) giveKey() (credential.Secret, error) {
	if r.key == "" {
		return credential.Secret{}, errors.New("there is no key")
	}
	return credential.NewSecret([]byte(r.key)), nil
}

func (r *rig) file() string { return filepath.Join(r.dir, file) }

// partial is what becomes the file.
func (r *rig) partial() string { return r.file() + ".partial" }

func (r *rig) set(name, value string) { r.t.Helper(); check(r.t, r.Set(name, secret(value))) }

func (r *rig) has(name, want string) {
	r.t.Helper()
	if got, err := r.fetch(name); err != nil || got != want {
		r.t.Errorf("%s is %q, want %q (%v)", name, got, want, err)
	}
}

func (s *Store) fetch(name string) (string, error) {
	grant, err := s.Fetch(context.Background(), credential.Ask{Reference: name})
	defer grant.Secret.Destroy()
	return string(grant.Secret.Reveal()), err
}

func secret(value string) credential.Secret { return credential.NewSecret([]byte(value)) }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refuses wants an error that says something and never the value.
func refuses(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("it was accepted; want an error with %q", words)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%v: does not say %q", err, word)
		}
	}
}

func TestSecretIsWhatItWasSetTo(t *testing.T) {
	r := newRig(t)
	values := map[string]string{
		"github": "ghp_0123456789", "zz": "ends in a newline\n", "Binary.0-x": "\xff\xfe\x01 not UTF-8", "long": strings.Repeat("x", credential.MaxValue),
	}
	for name, value := range values {
		r.set(name, value)
	}
	for name, value := range values {
		r.has(name, value)
	}
	infos, err := r.List()
	check(t, err)
	var names []string
	for _, info := range infos {
		names = append(names, info.Name)
	}
	if got := strings.Join(names, " "); got != "Binary.0-x github long zz" {
		t.Errorf("listed %s", got)
	}
}

func TestSetNeverReplacesAndRotateNeverMakes(t *testing.T) {
	r := newRig(t)
	r.set("token", "first value")
	if err := r.Set("token", secret("second value")); !errors.Is(err, ErrExists) {
		t.Errorf("set again: %v", err)
	}
	if err := r.Rotate("other", secret("second value")); !errors.Is(err, ErrMissing) {
		t.Errorf("rotate of none: %v", err)
	}
	if err := r.Rotate("token", secret("first value")); !errors.Is(err, ErrSame) {
		t.Errorf("rotate to the same: %v", err)
	}
	r.has("token", "first value")
	check(t, r.Rotate("token", secret("second value")))
	r.has("token", "second value")
}

func TestRotationKeepsTheDayOfCreation(t *testing.T) {
	r := newRig(t)
	made := r.now
	r.set("token", "first value")
	r.now = r.now.Add(40 * 24 * time.Hour)
	check(t, r.Rotate("token", secret("second value")))
	r.now = r.now.Add(time.Hour)
	infos, err := r.List()
	check(t, err)
	want := Info{Name: "token", Created: made, Rotated: made.Add(40 * 24 * time.Hour), Age: time.Hour}
	if len(infos) != 1 || infos[0] != want {
		t.Errorf("listed %+v, want %+v", infos, want)
	}
}

func TestRemoveTakesAllOrNone(t *testing.T) {
	r := newRig(t)
	r.set("one", "first value")
	r.set("two", "second value")
	if err := r.Remove("one", "three"); !errors.Is(err, ErrMissing) {
		t.Errorf("removed one that there is not: %v", err)
	}
	r.has("one", "first value")
	check(t, r.Remove("one", "two"))
	_, err := r.fetch("one")
	refuses(t, err, "creel secret set one")
	if !errors.Is(err, ErrMissing) {
		t.Errorf("fetch of a removed one: %v", err)
	}
}

func TestOldValueIsOverdueAndStrictRefusesIt(t *testing.T) {
	for _, test := range []struct {
		age     time.Duration
		overdue bool
		says    string
	}{
		{0, false, ""}, {MaxAge, false, ""}, {MaxAge + time.Second, true, "90 days"},
		// A date in the future is a clock's that was wrong.
		{-time.Hour, false, ""}, {-25 * time.Hour, true, "has not come"},
	} {
		r := newRig(t)
		r.set("token", "first value")
		r.now = r.now.Add(test.age)
		infos, err := r.List()
		check(t, err)
		if infos[0].Overdue != test.overdue {
			t.Errorf("after %v: overdue %v", test.age, infos[0].Overdue)
		}
		r.has("token", "first value") // without strict
		r.SetStrict(true)
		if _, err := r.fetch("token"); test.overdue {
			refuses(t, err, "2026-03-01", test.says, "creel secret rotate token", "strict: true")
			check(t, r.Rotate("token", secret("second value")))
			r.has("token", "second value")
		} else if err != nil {
			t.Errorf("after %v strict refuses: %v", test.age, err)
		}
	}
}

func TestNamesAndValuesThatCannotBeAreRefused(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"", ".", "..", "a/b", "../x", "-x", "a b", "a\n", "a\x00", "ä", strings.Repeat("a", 65)} {
		refuses(t, r.Set(name, secret("canary-value")), "no name of a secret")
		_, err := r.fetch(name)
		refuses(t, err, "no name of a secret")
		refuses(t, r.Rotate(name, secret("canary-value")), "no name of a secret")
		refuses(t, r.Remove(name), "no name of a secret")
	}
	for _, value := range []string{"", "canary", "canary-\x00-value", "         ", strings.Repeat("canary", 11000)} {
		err := r.Set("token", secret(value))
		refuses(t, err, "check value")
		if strings.Contains(err.Error(), "canary") {
			t.Errorf("the error holds the value: %v", err)
		}
	}
	if infos, err := r.List(); err != nil || len(infos) != 0 {
		t.Errorf("something was kept: %v, %v", infos, err)
	}
	r.set(strings.Repeat("a", 64), "canary-value")
}

func TestEmptyStoreIsNoErrorAndNeedsNoKey(t *testing.T) {
	r := newRig(t)
	key := r.key
	r.key = ""
	if infos, err := r.List(); err != nil || len(infos) != 0 {
		t.Errorf("listed %v, %v", infos, err)
	}
	_, err := r.fetch("token")
	refuses(t, err, "creel secret set token")
	if _, err := os.Lstat(r.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("reading made the directory: %v", err)
	}
	refuses(t, r.Set("token", secret("first value")), "there is no key")
	if _, err := os.Lstat(r.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a refused set made the directory: %v", err)
	}
	r.key = key
	r.set("token", "first value")
}

// What is refused gives its locked memory back too: there is not much of it.
func TestNoLockedMemoryIsLeft(t *testing.T) {
	r := newRig(t)
	before := locked.InUse()
	use := func(name string, change func(string, credential.Secret) error) {
		value := secret("value of " + name)
		if locked.InUse() == before {
			t.Error("positive control: a value is not counted")
		}
		_ = change(name, value)
		value.Destroy()
	}
	for range 3 {
		use("token", r.Set)
		use("token", r.Rotate)
		use("../bad", r.Set)
		_, _ = r.fetch("token")
		_, _ = r.fetch("none")
		_, _ = r.List()
		_ = r.Remove("none")
	}
	use("other", r.Set)
	c := r.contents()
	c.find("token").Sealed = c.find("other").Sealed
	r.put(c)
	_, err := r.fetch("token")
	refuses(t, err, "open secret token")
	check(t, os.WriteFile(r.file(), []byte("no store"), 0o600))
	_, _ = r.fetch("token")
	use("token", r.Rotate)
	r.key = "no key"
	_, _ = r.fetch("token")
	use("token", r.Rotate)
	if after := locked.InUse(); after != before {
		t.Errorf("%d bytes are left", after-before)
	}
}

func TestStoreIsBounded(t *testing.T) {
	r := newRig(t)
	r.set("first", "first value")
	c := r.contents()
	for len(c.Secrets) < maxSecrets {
		check(t, c.add(record{Name: fmt.Sprintf("s%d", len(c.Secrets)), Created: r.now, Rotated: r.now}, secret("some value")))
	}
	r.put(c)
	if err := r.Set("more", secret("one too many")); !errors.Is(err, ErrFull) {
		t.Errorf("secret %d: %v", maxSecrets+1, err)
	}
	check(t, r.Remove("first"))
	r.set("more", "one too many")

	r = newRig(t)
	big := strings.Repeat("x", credential.MaxValue)
	r.set("s0", big)
	c = r.contents()
	for n := 1; n < 46; n++ { // of 64 KiB and a third more for base64
		check(t, c.add(record{Name: fmt.Sprintf("s%d", n), Created: r.now, Rotated: r.now}, secret(big)))
	}
	r.put(c)
	r.set("last", big)
	if err := r.Set("more", secret(big)); !errors.Is(err, ErrFull) {
		t.Errorf("value 48 of 64 KiB: %v", err)
	}
	r.has("s0", big)
}

// contents decrypts the file, and put writes one.
func (r *rig) contents() *contents {
	r.t.Helper()
	c, err := r.read()
	check(r.t, err)
	return c
}

func (r *rig) put(c *contents) {
	r.t.Helper()
	key, err := parseKey([]byte(r.key))
	check(r.t, err)
	sealed, err := encrypt(c, key)
	check(r.t, err)
	dir, err := privatefile.Make(r.dir)
	check(r.t, err)
	defer dir.Close()
	check(r.t, dir.Write(file, sealed))
}

// Two stores are as two processes: each opens and locks the directory itself.
func TestChangesAtOnceAreAllKept(t *testing.T) {
	r := newRig(t)
	r.set("read", "always there")
	const each = 12
	var all sync.WaitGroup
	for writer := range 3 {
		other := New(r.cfg)
		all.Go(func() {
			for i := range each {
				name := fmt.Sprintf("w%d-%d", writer, i)
				if err := other.Set(name, secret("value of "+name)); err != nil {
					t.Error(err)
				}
				if i%2 == 1 {
					if err := other.Remove(name); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for range 3 {
		all.Go(func() {
			for range 3 * each {
				if got, err := r.fetch("read"); err != nil || got != "always there" {
					t.Errorf("fetched %q, %v", got, err)
				}
				if _, err := r.List(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	infos, err := r.List()
	check(t, err)
	if len(infos) != 1+3*each/2 {
		t.Errorf("%d secrets are left, want %d", len(infos), 1+3*each/2)
	}
	r.has("w2-10", "value of w2-10")
}

func TestFileHoldsNoNameAndNoValue(t *testing.T) {
	r := newRig(t)
	const canary = "canary-7b1e-value"
	r.set("canary-name", canary)
	data, err := os.ReadFile(r.file())
	check(t, err)
	plain, err := r.contents().encode()
	check(t, err)
	if !bytes.Contains(plain, []byte("canary-name")) {
		t.Error("positive control: what is encrypted does not hold the name")
	}
	if bytes.Contains(plain, []byte(canary)) {
		t.Error("what is encrypted holds a value that is not sealed by itself")
	}
	for _, text := range []string{"canary", canary, "secrets"} {
		if bytes.Contains(data, []byte(text)) {
			t.Errorf("the file holds %q", text)
		}
	}
	// Nor does its length tell how long the value is.
	size := len(data)
	check(t, r.Rotate("canary-name", secret(strings.Repeat("x", 500))))
	if data, err = os.ReadFile(r.file()); err != nil || len(data) != size {
		t.Errorf("%d bytes for a short value, %d for a longer one (%v)", size, len(data), err)
	}
}

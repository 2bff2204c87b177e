package supervisor

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/credential"
	"github.com/creel-sandbox/creel/runner/hygiene"
	"github.com/creel-sandbox/creel/runner/hygiene/keyring"
)

// counted is systemd's provider, and counts how often it reads a value.
type counted struct {
	*credential.Systemd
	reads int
}

func (c *counted) Fetch(ctx context.Context, ask credential.Ask) (credential.Grant, error) {
	c.reads++
	return c.Systemd.Fetch(ctx, ask)
}

// learning is a learner of the values in a directory.
type learning struct {
	*learner
	t        *testing.T
	dir      string
	provider *counted
}

func newLearning(t *testing.T) *learning {
	t.Helper()
	dir, ring := t.TempDir(), keyring.New()
	provider := &counted{Systemd: credential.NewSystemd(dir)}
	searcher := hygiene.NewSearcher("/nonexistent", dir, ring.Key())
	t.Cleanup(func() { check(t, searcher.Close()) })
	resolver := credential.New(map[string]credential.Provider{policy.ProviderSystemd: provider})
	return &learning{newLearner(Config{Credentials: resolver, Keyring: ring, Hygiene: searcher}), t, dir, provider}
}

// put replaces a value, as systemd and creel do.
func (l *learning) put(name, value string) {
	l.t.Helper()
	path := filepath.Join(l.dir, name)
	check(l.t, os.WriteFile(path+".new", []byte(value), 0o400))
	check(l.t, os.Rename(path+".new", path))
}

// reads counts the values that are read so that these are looked for.
func (l *learning) reads(names ...string) int {
	l.t.Helper()
	var credentials []policy.Credential
	for _, name := range names {
		credentials = append(credentials, policy.Credential{Env: "E", Provider: policy.ProviderSystemd, Reference: name})
	}
	before := l.provider.reads
	check(l.t, l.keep(l.t.Context(), credentials))
	return l.provider.reads - before
}

func TestValueIsReadAgainOnlyWhenItMayBeAnother(t *testing.T) {
	l := newLearning(t)
	l.put("one", "the first value")
	l.put("two", "the second value")
	want := func(reads int, when string, names ...string) {
		t.Helper()
		if got := l.reads(names...); got != reads {
			t.Errorf("%s: %d values were read, want %d", when, got, reads)
		}
	}
	for range 2 {
		want(2, "files that may be changed without a new time", "one", "two")
	}
	l.now = func() time.Time { return time.Now().Add(time.Hour) }
	want(2, "settled files", "one", "two")
	for range 3 {
		want(0, "nothing changed", "one", "two", "one")
	}
	l.put("one", "the other value") // of the same length
	want(1, "one was replaced", "one", "two")
	want(0, "nothing changed", "one", "two")
	check(t, os.Remove(filepath.Join(l.dir, "two")))
	for range 2 {
		want(1, "one is gone", "one", "two")
	}
	l.put("two", "the second value")
	want(1, "it is back", "one", "two")
	want(0, "nothing changed", "one", "two")
	want(1, "one that was never there", "three")
	for _, name := range []string{"one", "two"} {
		if !l.searcher.Knows("systemd:" + name) {
			t.Errorf("control: %s is not looked for", name)
		}
	}
	if l.searcher.Knows("systemd:three") {
		t.Error("control: what is not there is looked for")
	}
}

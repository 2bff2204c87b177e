package supervisor

import (
	"context"
	"sync"
	"time"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/credential"
	"github.com/creel-sandbox/creel/runner/filestate"
	"github.com/creel-sandbox/creel/runner/hygiene"
	"github.com/creel-sandbox/creel/runner/hygiene/keyring"
)

// learner has the values of credentials looked for in workspaces. Without a
// searcher there is nobody to look.
type learner struct {
	credentials *credential.Resolver
	keyring     *keyring.Keyring
	searcher    *hygiene.Searcher
	now         func() time.Time

	// mu is held while values are read, so that no older one takes the place of
	// a newer.
	mu sync.Mutex
	// read is what each source was like when its value was read; those are left
	// out that could change without being seen to.
	read map[string]filestate.State
}

func newLearner(cfg Config) *learner {
	return &learner{credentials: cfg.Credentials, keyring: cfg.Keyring, searcher: cfg.Hygiene, now: time.Now, read: map[string]filestate.State{}}
}

// credentials are those of all policies together.
func (d *Declared) credentials() []policy.Credential {
	var all []policy.Credential
	for _, of := range d.Policies.All() {
		all = append(all, of.Credentials...)
	}
	return all
}

// source is where a credential comes from, as people write it.
func source(c policy.Credential) string { return c.Provider + ":" + c.Reference }

// keep has the values looked for that these credentials could be given without
// having one made. One that cannot have changed since is not read again.
func (l *learner) keep(ctx context.Context, credentials []policy.Credential) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range credentials {
		now := l.now()
		state, kept := l.credentials.StateOf(c)
		if !kept || state != (filestate.State{}) && state == l.read[source(c)] {
			continue
		}
		delete(l.read, source(c))
		needles, err := l.kept(ctx, c)
		if err != nil {
			return err
		}
		if needles == nil {
			continue
		}
		l.searcher.Learn(source(c), needles)
		if state.Settled(now) {
			l.read[source(c)] = state
		}
	}
	return nil
}

// kept are the needles of a value that a provider keeps; nil, where it has none
// or cannot give it now.
func (l *learner) kept(ctx context.Context, c policy.Credential) ([]hygiene.Needle, error) {
	secret, ok := l.credentials.Kept(ctx, c)
	if !ok {
		return nil, nil
	}
	defer secret.Destroy()
	return l.keyring.Hash(secret.Reveal())
}

// fetched has values looked for that a vault keeps: those that came without a
// lease. What a helper prints may be another value each time.
func (l *learner) fetched(credentials []policy.Credential, resolved []credential.Resolved) error {
	if l.searcher == nil {
		return nil
	}
	for i, r := range resolved {
		c := credentials[i]
		if r.Lease != (credential.Lease{}) || c.Provider == policy.ProviderExec || l.credentials.Keeps(c) {
			continue
		}
		needles, err := l.keyring.Hash(r.Secret.Reveal())
		if err != nil {
			return err
		}
		l.searcher.Learn(source(c), needles)
	}
	return nil
}

// further are the needles of values that these credentials could be given, and
// those in force could not, by where they are from.
func (l *learner) further(ctx context.Context, credentials, inForce []policy.Credential) (map[string][]hygiene.Needle, error) {
	known := map[string]bool{}
	for _, c := range inForce {
		known[source(c)] = true
	}
	all := map[string][]hygiene.Needle{}
	for _, c := range credentials {
		if known[source(c)] {
			continue
		}
		needles, err := l.kept(ctx, c)
		if err != nil {
			return nil, err
		}
		if needles != nil {
			all[source(c)] = needles
		}
	}
	return all, nil
}

package credential

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/creel-sandbox/creel/policy"
)

// resolveTimeout bounds all the fetches of one invocation together.
const resolveTimeout = 30 * time.Second

// ErrNoProvider is returned for a provider that this version does not have.
var ErrNoProvider = errors.New("no such provider here (there are systemd:NAME, exec:HELPER ARG and, once creel.yaml names a vault, vault:PATH#FIELD)")

// Provider fetches the value that a reference names. Its errors must not
// hold the value or any part of it. It must end soon after ctx does. A lease
// that comes with an error is kept as any other, so that it is revoked.
type Provider interface {
	Fetch(ctx context.Context, ask Ask) (Grant, error)
}

// Ask is what a provider is asked for.
type Ask struct {
	Reference string
	// TTL is the longest that a value which is made for this one asking may
	// stay valid; 0 leaves it to whoever makes it.
	TTL time.Duration
}

// Grant is what a provider gives.
type Grant struct {
	Secret Secret
	Lease  Lease
}

// Lease is the right of a value to exist. The zero Lease is that of a value
// which nobody can take back.
type Lease struct {
	// Accessor names the lease to the provider that made it. It revokes the
	// value and cannot be used in its place: it is no secret.
	Accessor string
	// Expires is when the value ends by itself; zero, where it never does.
	Expires time.Time
}

// Revoker is a Provider that makes leases. To revoke one that is gone is no
// error.
type Revoker interface {
	Revoke(ctx context.Context, accessor string) error
}

// Keep takes over a lease as soon as it exists, before anybody looks at its
// value: from then on, whether it fails or not, it sees to its end.
type Keep func(credential policy.Credential, lease Lease) error

// Resolved is one value, its lease, and the environment variable that takes
// it.
type Resolved struct {
	Env    string
	Secret Secret
	Lease  Lease
}

// DestroyAll wipes every value.
func DestroyAll(resolved []Resolved) {
	for _, r := range resolved {
		r.Secret.Destroy()
	}
}

// Resolver fetches the credentials of a policy from its providers.
type Resolver struct {
	providers map[string]Provider
	timeout   time.Duration
}

// New returns a Resolver for providers by the name that a policy's "from"
// starts with.
func New(providers map[string]Provider) *Resolver {
	return &Resolver{providers: providers, timeout: resolveTimeout}
}

// errNoAnswer stands for a provider that had not answered when the time was
// up or the caller gone.
var errNoAnswer = errors.New("wait for provider: no answer in time")

// fetched is the outcome of one Fetch.
type fetched struct {
	index int
	grant Grant
	err   error
}

// Resolve fetches all credentials at once, in at most 30 s, and returns them
// in the order given. If any fails, every value is destroyed and the error
// names the variable, provider and reference of each that failed. Every lease
// is given to keep, those too that come when nobody waits for them any more.
func (r *Resolver) Resolve(ctx context.Context, credentials []policy.Credential, keep Keep) ([]Resolved, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	results := make(chan fetched, len(credentials))
	for i, c := range credentials {
		go func() {
			grant, err := r.fetch(ctx, c, keep)
			results <- fetched{i, grant, err}
		}()
	}
	resolved := make([]Resolved, len(credentials))
	failures := make([]error, len(credentials))
	for i, c := range credentials {
		resolved[i].Env = c.Env
		failures[i] = errNoAnswer
	}
	if missing := collect(ctx, results, resolved, failures); missing > 0 {
		go discard(results, missing)
	}
	if err := describe(credentials, failures); err != nil {
		DestroyAll(resolved)
		return nil, err
	}
	return resolved, nil
}

// collect takes results in until all have come or ctx ends, and returns how
// many have not.
func collect(ctx context.Context, results <-chan fetched, resolved []Resolved, failures []error) (missing int) {
	for missing = len(resolved); missing > 0; missing-- {
		select {
		case f := <-results:
			resolved[f.index].Secret, resolved[f.index].Lease, failures[f.index] = f.grant.Secret, f.grant.Lease, f.err
		case <-ctx.Done():
			return missing
		}
	}
	return 0
}

// discard destroys the values that come too late.
func discard(results <-chan fetched, missing int) {
	for range missing {
		(<-results).grant.Secret.Destroy()
	}
}

// describe joins the failures, each with what it was about.
func describe(credentials []policy.Credential, failures []error) error {
	var all []error
	for i, c := range credentials {
		if failures[i] != nil {
			all = append(all, fmt.Errorf("fetch credential %s from %s:%s: %w", c.Env, c.Provider, c.Reference, failures[i]))
		}
	}
	return errors.Join(all...)
}

// fetch gets and checks one value, whatever the provider has checked itself.
func (r *Resolver) fetch(ctx context.Context, c policy.Credential, keep Keep) (Grant, error) {
	provider, ok := r.providers[c.Provider]
	if !ok {
		return Grant{}, ErrNoProvider
	}
	grant, err := provider.Fetch(ctx, Ask{Reference: c.Reference, TTL: c.TTL})
	if grant.Lease.Accessor != "" {
		err = errors.Join(err, keep(c, grant.Lease))
	}
	if err == nil {
		err = CheckValue(grant.Secret)
	}
	if err != nil {
		grant.Secret.Destroy()
		return Grant{}, err
	}
	return grant, nil
}

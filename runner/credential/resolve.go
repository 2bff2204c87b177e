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
var ErrNoProvider = errors.New("no such provider in this version of creel (there are systemd:NAME and exec:HELPER ARG)")

// Provider fetches the value that a reference names. Its errors must not
// hold the value or any part of it. It must end soon after ctx does.
type Provider interface {
	Fetch(ctx context.Context, reference string) (Secret, error)
}

// Resolved is one value and the environment variable that takes it.
type Resolved struct {
	Env    string
	Secret Secret
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
	index  int
	secret Secret
	err    error
}

// Resolve fetches all credentials at once, in at most 30 s, and returns them
// in the order given. If any fails, every value is destroyed and the error
// names the variable, provider and reference of each that failed.
func (r *Resolver) Resolve(ctx context.Context, credentials []policy.Credential) ([]Resolved, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	results := make(chan fetched, len(credentials))
	for i, c := range credentials {
		go func() {
			secret, err := r.fetch(ctx, c)
			results <- fetched{i, secret, err}
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
			resolved[f.index].Secret, failures[f.index] = f.secret, f.err
		case <-ctx.Done():
			return missing
		}
	}
	return 0
}

// discard destroys the values that come too late.
func discard(results <-chan fetched, missing int) {
	for range missing {
		(<-results).secret.Destroy()
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
func (r *Resolver) fetch(ctx context.Context, c policy.Credential) (Secret, error) {
	provider, ok := r.providers[c.Provider]
	if !ok {
		return Secret{}, ErrNoProvider
	}
	secret, err := provider.Fetch(ctx, c.Reference)
	if err == nil {
		err = checkValue(secret)
	}
	if err != nil {
		secret.Destroy()
		return Secret{}, err
	}
	return secret, nil
}

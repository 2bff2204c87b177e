package credential

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/boottime"
)

// resolveTimeout bounds all the fetches of one invocation together.
const resolveTimeout = 30 * time.Second

// ErrNoProvider is returned for a provider that this version does not have.
var ErrNoProvider = errors.New("no such provider here (there are systemd:NAME, exec:HELPER ARG, store:NAME and, once creel.yaml names a vault, vault:PATH#FIELD)")

// Provider fetches the value that a reference names. Its errors must not
// hold the value or any part of it. It must end soon after ctx does. A lease
// that comes with an error is kept as any other, so that it is revoked.
type Provider interface {
	Fetch(ctx context.Context, ask Ask) (Grant, error)
}

// Bundler is a Provider whose references are PATH#FIELD, and whose fields of
// one path belong together, as a user and a password made for it do.
type Bundler interface {
	// FetchFields is Fetch for several fields of one path: one value each, all
	// with the same lease, or an error and, where there is one, a lease.
	FetchFields(ctx context.Context, path string, fields []string, ttl time.Duration) ([]Secret, Lease, error)
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
	// Ends is when the value ends by itself, or a little before: it is counted
	// from the question. Zero, where it never does.
	Ends boottime.Instant
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

// fetched is the outcome of one question: a value for each of the credentials.
type fetched struct {
	of      []int
	secrets []Secret
	lease   Lease
	err     error
}

// Resolve fetches all credentials at once, in at most 30 s, and returns them
// in the order given. If any fails, every value is destroyed and the error
// names the variable, provider and reference of each that failed. Every lease
// is given to keep, those too that come when nobody waits for them any more.
func (r *Resolver) Resolve(ctx context.Context, credentials []policy.Credential, keep Keep) ([]Resolved, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	questions := r.questions(credentials)
	results := make(chan fetched, len(questions))
	for _, of := range questions {
		go func() {
			secrets, lease, err := r.fetch(ctx, credentials, of, keep)
			results <- fetched{of, secrets, lease, err}
		}()
	}
	resolved := make([]Resolved, len(credentials))
	failures := make([]error, len(credentials))
	for i, c := range credentials {
		resolved[i].Env = c.Env
		failures[i] = errNoAnswer
	}
	if missing := collect(ctx, results, len(questions), resolved, failures); missing > 0 {
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
func collect(ctx context.Context, results <-chan fetched, questions int, resolved []Resolved, failures []error) (missing int) {
	for missing = questions; missing > 0; missing-- {
		select {
		case f := <-results:
			for n, i := range f.of {
				if failures[i] = f.err; f.err == nil {
					resolved[i].Secret, resolved[i].Lease = f.secrets[n], f.lease
				}
			}
		case <-ctx.Done():
			return missing
		}
	}
	return 0
}

// discard destroys the values that come too late.
func discard(results <-chan fetched, missing int) {
	for range missing {
		destroy((<-results).secrets)
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

// questions groups the credentials by what is asked at once: different fields
// of one path of a Bundler, and everything else for itself.
func (r *Resolver) questions(credentials []policy.Credential) [][]int {
	type asked struct {
		of     []int
		fields map[string]bool
	}
	var all []*asked
	byPath := map[string][]*asked{}
	for i, c := range credentials {
		path, field, _ := strings.Cut(c.Reference, "#")
		path = c.Provider + ":" + path
		var joined *asked
		if _, ok := r.providers[c.Provider].(Bundler); ok {
			for _, a := range byPath[path] {
				if joined == nil && !a.fields[field] {
					joined = a
				}
			}
		}
		if joined == nil {
			joined = &asked{fields: map[string]bool{}}
			all, byPath[path] = append(all, joined), append(byPath[path], joined)
		}
		joined.of, joined.fields[field] = append(joined.of, i), true
	}
	questions := make([][]int, 0, len(all))
	for _, a := range all {
		questions = append(questions, a.of)
	}
	return questions
}

// fetch gets and checks the values of one question, whatever the provider has
// checked itself.
func (r *Resolver) fetch(ctx context.Context, credentials []policy.Credential, of []int, keep Keep) ([]Secret, Lease, error) {
	first := credentials[of[0]]
	provider, ok := r.providers[first.Provider]
	if !ok {
		return nil, Lease{}, ErrNoProvider
	}
	var secrets []Secret
	var lease Lease
	var err error
	if len(of) == 1 {
		var grant Grant
		grant, err = provider.Fetch(ctx, Ask{Reference: first.Reference, TTL: first.TTL})
		secrets, lease = []Secret{grant.Secret}, grant.Lease
	} else {
		secrets, lease, err = fetchFields(ctx, provider.(Bundler), credentials, of)
	}
	if lease.Accessor != "" {
		err = errors.Join(err, keep(first, lease))
	}
	for _, secret := range secrets {
		if err == nil {
			err = CheckValue(secret)
		}
	}
	if err != nil {
		destroy(secrets)
		return nil, Lease{}, err
	}
	return secrets, lease, nil
}

// fetchFields asks for the fields of one path, for the shortest time that any
// of them names.
func fetchFields(ctx context.Context, bundler Bundler, credentials []policy.Credential, of []int) ([]Secret, Lease, error) {
	var fields []string
	var ttl time.Duration
	path := ""
	for _, i := range of {
		var field string
		path, field, _ = strings.Cut(credentials[i].Reference, "#")
		fields = append(fields, field)
		if own := credentials[i].TTL; own > 0 && (ttl == 0 || own < ttl) {
			ttl = own
		}
	}
	secrets, lease, err := bundler.FetchFields(ctx, path, fields, ttl)
	if err == nil && len(secrets) != len(of) {
		destroy(secrets)
		secrets, err = nil, errors.New("fetch fields: the provider gave another number of values")
	}
	return secrets, lease, err
}

func destroy(secrets []Secret) {
	for _, secret := range secrets {
		secret.Destroy()
	}
}

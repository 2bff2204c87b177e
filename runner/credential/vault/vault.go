// Package vault is the provider of "vault:PATH#FIELD": secrets that a Vault or
// OpenBao server keeps (KV, version 1 and 2) or makes for one command (every
// engine that returns a lease, and auth/token/create). It is the one client of
// that API.
//
// It imports credential, boottime, registers, the standard library and
// github.com/hashicorp/vault/api.
// It never writes to a disk, reads no environment variable that would send it
// elsewhere (a proxy, VAULT_ADDR, VAULT_TOKEN), follows no redirect, and quotes
// in an error no word of a server that could be a value.
//
// OpenBao, which began as Vault, answers the same requests in the same words
// (sdk/helper/consts); the tests run a Vault server.
//
// Current limitations: the library decodes JSON into strings, which cannot be
// wiped; the garbage collector frees them. A lease that the server made for a
// question whose answer never arrived, since the connection broke, ends with
// its TTL only.
package vault

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/creel-sandbox/creel/runner/boottime"
	"github.com/creel-sandbox/creel/runner/credential"
)

// Config says where the vault is, and who this is to it.
type Config struct {
	Address   string // URL
	CAFile    string // PEM; "" for the certificates that the host trusts
	Namespace string
	RoleID    string
	Login     string // where AppRole is mounted, below auth/
	// Credential reads what the service was given: a token, the secret ID of
	// RoleID, or both IDs of a role as two lines.
	Credential func() (credential.Secret, error)
	Timeout    time.Duration // of one Fetch
	// Late takes over a lease whose Fetch had ended before the server
	// answered.
	Late func(credential.Lease)
	// LoggedIn is told of each login by AppRole. To revoke one revokes all
	// that was made with it, also what nobody knows of: what the server made
	// while this process was killed.
	LoggedIn func(credential.Lease)
}

// answerTimeout bounds how long an answer that may hold a lease is waited for
// when its Fetch has ended.
const answerTimeout = time.Minute

// Provider implements credential.Provider and credential.Revoker.
type Provider struct {
	cfg    Config
	client *api.Client // without a token
	login  login
	mu     sync.Mutex
	mounts map[string]mount // by the path asked for
}

var (
	_ credential.Provider = (*Provider)(nil)
	_ credential.Bundler  = (*Provider)(nil)
	_ credential.Revoker  = (*Provider)(nil)
)

// New makes a provider. The server is not asked for anything yet.
func New(cfg Config) (*Provider, error) {
	var roots *x509.CertPool
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read certificates of the vault: %w", err)
		}
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read certificates of the vault: there is none in %s", cfg.CAFile)
		}
	}
	client, err := newClient(cfg.Address, cfg.Namespace, roots)
	if err != nil {
		return nil, fmt.Errorf("make client of the vault: %w", err)
	}
	return &Provider{cfg: cfg, client: client, mounts: map[string]mount{}}, nil
}

// Fetch reads or makes what "PATH#FIELD" names. A lease may come with an
// error, so that whoever keeps leases ends it.
func (p *Provider) Fetch(ctx context.Context, ask credential.Ask) (credential.Grant, error) {
	where, field, ok := strings.Cut(ask.Reference, "#")
	if !ok || where == "" || field == "" {
		return credential.Grant{}, errors.New("read reference: it is not PATH#FIELD")
	}
	secrets, lease, err := p.FetchFields(ctx, where, []string{field}, ask.TTL)
	if err != nil {
		return credential.Grant{Lease: lease}, err
	}
	return credential.Grant{Secret: secrets[0], Lease: lease}, nil
}

// FetchFields implements credential.Bundler: one question, several fields of
// its answer.
func (p *Provider) FetchFields(ctx context.Context, where string, fields []string, ttl time.Duration) ([]credential.Secret, credential.Lease, error) {
	ctx, cancel := p.bound(ctx)
	defer cancel()
	var secrets []credential.Secret
	var lease credential.Lease
	err := p.loggedIn(ctx, ttl, func(client *api.Client, ends boottime.Instant) error {
		asked := boottime.Now()
		answer, err := p.ask(ctx, client, where, ttl)
		if err != nil {
			return err
		}
		lease = leaseOf(answer.secret, asked)
		if err := p.bind(ctx, client, answer, &lease, ttl); err != nil {
			return err
		}
		if lease.Accessor != "" { // it ends with the login that it was made by
			lease.Ends = boottime.First(lease.Ends, ends)
		}
		secrets, err = answer.take(fields)
		return err
	})
	return secrets, lease, err
}

// bound gives a question its time.
func (p *Provider) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, p.cfg.Timeout, fmt.Errorf("no answer within %s", p.cfg.Timeout))
}

// ask puts the one question that the path's engine answers.
func (p *Provider) ask(ctx context.Context, client *api.Client, where string, ttl time.Duration) (*answer, error) {
	if makesTokens(where) {
		return p.made(ctx, func(ctx context.Context) (*api.Secret, error) {
			return client.Logical().WriteWithContext(ctx, where, tokenRequest(ttl))
		})
	}
	m, err := p.mountOf(ctx, client, where)
	switch {
	case err != nil:
		return nil, fmt.Errorf("find the secrets engine: %w", explain(ctx, err))
	case m.kind == "kv" && m.version == "2":
		return p.read(ctx, client, m.data(where), true)
	case m.kind == "kv":
		return p.read(ctx, client, where, false)
	case m.kind != "":
		return p.madeByReading(ctx, client, where)
	}
	return p.guess(ctx, client, where)
}

// guess is for a login that may not ask what is mounted where: the path as it
// stands, and then as one of KV version 2, whose data are below data/.
func (p *Provider) guess(ctx context.Context, client *api.Client, where string) (*answer, error) {
	got, err := p.madeByReading(ctx, client, where)
	first, rest, below := strings.Cut(where, "/")
	if err == nil || !below || !errors.Is(err, errDenied) && !errors.Is(err, errNothing) {
		return got, err
	}
	if got, second := p.read(ctx, client, path.Join(first, "data", rest), true); second == nil {
		return got, nil
	}
	return nil, err
}

func (p *Provider) madeByReading(ctx context.Context, client *api.Client, where string) (*answer, error) {
	return p.made(ctx, func(ctx context.Context) (*api.Secret, error) {
		return client.Logical().ReadWithContext(ctx, where)
	})
}

// read asks for what is kept, which may be repeated.
func (p *Provider) read(ctx context.Context, client *api.Client, where string, versioned bool) (*answer, error) {
	secret, err := repeat(ctx, always, func() (*api.Secret, error) { return client.Logical().ReadWithContext(ctx, where) })
	if err != nil {
		return nil, fmt.Errorf("read from the vault: %w", explain(ctx, err))
	}
	if secret == nil {
		return nil, errNothing
	}
	if !versioned {
		return &answer{secret: secret, data: secret.Data}, nil
	}
	data, _ := secret.Data["data"].(map[string]any)
	if data == nil { // the version in force was deleted
		return nil, errNothing
	}
	return &answer{secret: secret, data: data}, nil
}

// made asks for what may be made by asking. It is repeated only where the
// server has not begun; and its answer is waited for after ctx too, since it
// may hold a lease.
func (p *Provider) made(ctx context.Context, request func(context.Context) (*api.Secret, error)) (*answer, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("wait for the vault: %w", context.Cause(ctx))
	}
	asked := boottime.Now()
	long, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
	type reply struct {
		secret *api.Secret
		err    error
	}
	replies := make(chan reply)
	go func() {
		defer cancel()
		secret, err := repeat(ctx, notBegun, func() (*api.Secret, error) { return request(long) })
		select {
		case replies <- reply{secret, err}:
		case <-ctx.Done():
			if lease := leaseOf(secret, asked); err == nil && lease.Accessor != "" {
				p.cfg.Late(lease)
			}
		}
	}()
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("wait for the vault: %w", context.Cause(ctx))
	case r := <-replies:
		switch {
		case r.err != nil:
			return nil, fmt.Errorf("ask the vault: %w", explain(ctx, r.err))
		case r.secret == nil:
			return nil, errNothing
		}
		return newAnswer(r.secret), nil
	}
}

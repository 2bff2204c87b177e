package vault

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/creel-sandbox/creel/runner/boottime"
)

// login is the token that this client has now. What is made with it dies with
// it, so it must last for as long as what it is used for.
type login struct {
	mu     sync.Mutex  // held while logging in: one does it for all
	client *api.Client // with the token; nil before the first login
	own    bool        // a login of this process gave it
	// accessor is that of such a token; "" where it cannot be revoked.
	accessor string
	// since and ends are zero for a token that never ends.
	since, ends boottime.Instant
	renewable   bool
}

// loggedIn does what needs a login that lasts for need and, where the login
// turns out to have been revoked, does it again with another one. What is made
// ends with the login, which it tells too.
func (p *Provider) loggedIn(ctx context.Context, need time.Duration, do func(*api.Client, boottime.Instant) error) error {
	for again := true; ; again = false {
		client, ends, err := p.clientFor(ctx, need)
		if err != nil {
			return fmt.Errorf("log in to the vault: %w", err)
		}
		if err = do(client, ends); !again || !errors.Is(err, errDenied) || accepted(ctx, client) {
			return err
		}
		p.forget(client)
	}
}

// accepted asks whether a login is still valid. An answer that is not clear
// keeps it.
func accepted(ctx context.Context, client *api.Client) bool {
	_, err := client.Auth().Token().LookupSelfWithContext(ctx)
	var refused *api.ResponseError
	return !errors.As(err, &refused) || refused.StatusCode != 403
}

// ownLogin says whether a client has a login of this process.
func (p *Provider) ownLogin(client *api.Client) bool {
	p.login.mu.Lock()
	defer p.login.mu.Unlock()
	return p.login.client == client && p.login.own
}

// forget drops a login, and what was learnt with it.
func (p *Provider) forget(client *api.Client) {
	p.login.mu.Lock()
	if p.login.client == client {
		p.login.client = nil
	}
	p.login.mu.Unlock()
	p.mu.Lock()
	clear(p.mounts)
	p.mu.Unlock()
}

// clientFor gives a client whose token lasts for need and some more where that
// can be had, having logged in or renewed where it must, and when that token
// ends.
func (p *Provider) clientFor(ctx context.Context, need time.Duration) (*api.Client, boottime.Instant, error) {
	l := &p.login
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client != nil && !l.lasts(need) && l.renewable {
		p.renew(ctx)
	}
	if l.client != nil && l.lasts(need) {
		return l.client, l.ends, nil
	}
	if err := p.logIn(ctx); err != nil {
		return nil, 0, err
	}
	return l.client, l.ends, nil
}

// lasts says whether the token is valid for need and a third of its time.
func (l *login) lasts(need time.Duration) bool {
	return l.ends == 0 || l.ends.Until() > max(need, time.Duration(l.ends-l.since)/3)
}

func (p *Provider) with(token string) (*api.Client, error) {
	client, err := p.client.CloneWithHeaders() // shares its connections
	if err != nil {
		return nil, err
	}
	client.SetToken(token)
	return client, nil
}

// renew prolongs the token; where that fails, another login follows.
func (p *Provider) renew(ctx context.Context) {
	asked := boottime.Now()
	secret, err := p.login.client.Auth().Token().RenewSelfWithContext(ctx, 0)
	if err == nil && secret != nil && secret.Auth != nil {
		p.login.take(p.login.client, secret.Auth, asked)
	}
}

func (l *login) take(client *api.Client, auth *api.SecretAuth, asked boottime.Instant) {
	l.client, l.renewable, l.since = client, auth.Renewable, asked
	l.ends = end(l.since, auth.LeaseDuration)
}

// logIn reads the service's credential anew, since it may have been rotated.
func (p *Provider) logIn(ctx context.Context) error {
	p.login.client = nil
	secret, err := p.cfg.Credential()
	if err != nil {
		return err
	}
	defer secret.Destroy()
	value := bytes.TrimSpace(secret.Reveal())
	role, id, two := bytes.Cut(value, []byte("\n"))
	switch {
	case p.cfg.RoleID != "":
		return p.appRole(ctx, p.cfg.RoleID, string(value))
	case two:
		return p.appRole(ctx, string(bytes.TrimSpace(role)), string(bytes.TrimSpace(id)))
	}
	return p.ownToken(ctx, string(value))
}

// appRole logs in with the two IDs of a role. A login is not repeated: a
// secret ID may be good for a number of them.
func (p *Provider) appRole(ctx context.Context, role, id string) error {
	asked := boottime.Now()
	secret, err := repeat(ctx, notBegun, func() (*api.Secret, error) {
		return p.client.Logical().WriteWithContext(ctx, "auth/"+p.cfg.Login+"/login", map[string]any{"role_id": role, "secret_id": id})
	})
	if err != nil {
		return fmt.Errorf("as a role: %w", explain(ctx, err))
	}
	if secret == nil || secret.Auth == nil || secret.Auth.ClientToken == "" {
		return errors.New("as a role: the answer holds no token")
	}
	client, err := p.with(secret.Auth.ClientToken)
	if err != nil {
		return err
	}
	lease := leaseOf(secret, asked)
	if lease.Accessor != "" { // a batch token has none
		p.cfg.LoggedIn(lease)
	}
	p.login.own, p.login.accessor = true, lease.Accessor
	p.login.take(client, secret.Auth, asked)
	return nil
}

// ownToken asks how long the token that the service was given lasts.
func (p *Provider) ownToken(ctx context.Context, token string) error {
	client, err := p.with(token)
	if err != nil {
		return err
	}
	asked := boottime.Now()
	secret, err := repeat(ctx, always, func() (*api.Secret, error) { return client.Auth().Token().LookupSelfWithContext(ctx) })
	if err != nil {
		return fmt.Errorf("with the service's token: %w", explain(ctx, err))
	}
	if secret == nil {
		return errors.New("with the service's token: the server says nothing of it")
	}
	ttl, err := secret.TokenTTL()
	if err != nil {
		return errors.New("with the service's token: the server does not say how long it lasts")
	}
	renewable, _ := secret.TokenIsRenewable()
	p.login.own, p.login.accessor = false, ""
	p.login.take(client, &api.SecretAuth{Renewable: renewable, LeaseDuration: int(ttl / time.Second)}, asked)
	return nil
}

// logOut gives up the token of this accessor, if it is the one that this
// client has now: what it made goes with it.
func (p *Provider) logOut(ctx context.Context, accessor string) (mine bool, err error) {
	l := &p.login
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client == nil || !l.own || l.accessor != accessor {
		return false, nil
	}
	if err := l.client.Auth().Token().RevokeSelfWithContext(ctx, ""); err != nil {
		return true, fmt.Errorf("log out of the vault: %w", explain(ctx, err))
	}
	l.client = nil
	return true, nil
}

package vault

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/creel-sandbox/creel/runner/boottime"
	"github.com/creel-sandbox/creel/runner/credential"
)

// tokenCreate makes tokens; below it, by the rules of a role.
const tokenCreate = "auth/token/create"

func makesTokens(where string) bool {
	return where == tokenCreate || strings.HasPrefix(where, tokenCreate+"/")
}

// An accessor of a lease begins with what it is the accessor of.
const (
	ofToken = "token/"
	ofLease = "lease/"
)

// answer is what the server gave, and where in it the fields are.
type answer struct {
	secret *api.Secret
	data   map[string]any
}

func newAnswer(secret *api.Secret) *answer {
	if secret.Auth != nil {
		return &answer{secret, map[string]any{"client_token": secret.Auth.ClientToken, "token": secret.Auth.ClientToken}}
	}
	return &answer{secret, secret.Data}
}

// tokenRequest asks for a token that ends with its TTL whatever is done with
// it, and that can be revoked.
func tokenRequest(ttl time.Duration) map[string]any {
	request := map[string]any{"renewable": false, "display_name": "creel", "type": "service"}
	if ttl > 0 {
		request["ttl"], request["explicit_max_ttl"] = seconds(ttl), seconds(ttl)
	}
	return request
}

func seconds(d time.Duration) string { return fmt.Sprintf("%ds", max(1, int64(d/time.Second))) }

// leaseOf is the lease of an answer to what was asked then; the zero Lease
// where it has none.
func leaseOf(secret *api.Secret, asked boottime.Instant) credential.Lease {
	switch {
	case secret == nil:
		return credential.Lease{}
	case secret.Auth != nil && secret.Auth.Accessor != "":
		return credential.Lease{Accessor: ofToken + secret.Auth.Accessor, Ends: end(asked, secret.Auth.LeaseDuration)}
	case secret.Auth == nil && secret.LeaseID != "":
		return credential.Lease{Accessor: ofLease + secret.LeaseID, Ends: end(asked, secret.LeaseDuration)}
	}
	return credential.Lease{}
}

// end is when what was asked for then ends; zero where it never does.
func end(asked boottime.Instant, seconds int) boottime.Instant {
	if seconds <= 0 {
		return 0
	}
	return asked.Add(lasting(seconds))
}

// lasting is how long a server says that something lasts; a number of seconds
// that is too large for a Duration must not become a small one.
func lasting(seconds int) time.Duration {
	return time.Duration(min(seconds, longestLease)) * time.Second
}

const longestLease = 100 * 365 * 24 * 3600

// bind sees that what was made can be revoked and ends within ttl, and that no
// command gets a root token: such is what a login with one makes without a role
// (Vault, "Token hierarchies and orphan tokens").
func (p *Provider) bind(ctx context.Context, client *api.Client, a *answer, lease *credential.Lease, ttl time.Duration) error {
	if a.secret.Auth != nil && lease.Accessor == "" {
		return errors.New("the vault made a token that cannot be revoked: choose token_type service for the role")
	}
	if a.secret.Auth != nil && (isRoot(a.secret.Auth.Policies) || isRoot(a.secret.Auth.TokenPolicies)) {
		return errors.New("the vault made a root token, which creel gives to no command: name a role, auth/token/create/ROLE, and give creeld a login of less")
	}
	return p.shorten(ctx, client, lease, ttl)
}

// take makes secrets of the fields, all or none.
func (a *answer) take(fields []string) ([]credential.Secret, error) {
	var secrets []credential.Secret
	for _, field := range fields {
		secret, err := a.value(field)
		if err != nil {
			for _, one := range secrets {
				one.Destroy()
			}
			return nil, err
		}
		secrets = append(secrets, secret)
	}
	return secrets, nil
}

func (a *answer) value(field string) (credential.Secret, error) {
	value, there := a.data[field]
	text, isText := value.(string)
	switch {
	case !there:
		return credential.Secret{}, fmt.Errorf("find field %s: what is there has none of this name", field)
	case !isText:
		return credential.Secret{}, fmt.Errorf("read field %s: it is not text", field)
	}
	secret := credential.NewSecret([]byte(text))
	if err := credential.CheckValue(secret); err != nil {
		secret.Destroy()
		return credential.Secret{}, fmt.Errorf("field %s: %w", field, err)
	}
	return secret, nil
}

// shorten has a lease end within ttl. An engine gives leases as long as its
// role says; to renew one for less ends it earlier.
func (p *Provider) shorten(ctx context.Context, client *api.Client, lease *credential.Lease, ttl time.Duration) error {
	if ttl <= 0 || lease.Accessor == "" || lease.Ends != 0 && lease.Ends.Until() <= ttl+time.Second {
		return nil
	}
	const hint = "; lower the TTL of the role in the vault, or raise ttl in the policy"
	id, ok := strings.CutPrefix(lease.Accessor, ofLease)
	if !ok {
		return errors.New("the vault made a token that is valid for longer than the policy's ttl" + hint)
	}
	asked := boottime.Now()
	renewed, err := client.Sys().RenewWithContext(ctx, id, int(max(1, ttl/time.Second)))
	if err != nil {
		// %v: a denial here must not have the lease made again.
		return fmt.Errorf("shorten the lease to the policy's ttl: %v%s", explain(ctx, err), hint)
	}
	if renewed == nil || renewed.LeaseDuration <= 0 || lasting(renewed.LeaseDuration) > ttl+time.Second {
		return errors.New("the vault made a lease that is longer than the policy's ttl, and did not shorten it" + hint)
	}
	lease.Ends = end(asked, renewed.LeaseDuration)
	return nil
}

// Revoke ends a lease, or a login, now: the server answers once it has.
func (p *Provider) Revoke(ctx context.Context, accessor string) error {
	where, body := "", map[string]any{}
	if id, ok := strings.CutPrefix(accessor, ofToken); ok {
		where, body["accessor"] = "auth/token/revoke-accessor", id
	} else if id, ok := strings.CutPrefix(accessor, ofLease); ok {
		where, body["lease_id"], body["sync"] = "sys/leases/revoke", id, true
	} else {
		return errors.New("revoke: this is not an accessor of a vault's lease")
	}
	ctx, cancel := p.bound(ctx)
	defer cancel()
	if mine, err := p.logOut(ctx, accessor); mine {
		return err
	}
	return p.loggedIn(ctx, 0, func(client *api.Client, _ boottime.Instant) error {
		_, err := client.Logical().WriteWithContext(ctx, where, body)
		if err == nil || isGone(err) {
			return nil
		}
		return fmt.Errorf("revoke by %s: %w", where, explain(ctx, err))
	})
}

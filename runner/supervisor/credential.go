package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/credential"
	"github.com/creel-sandbox/creel/runner/lease"
)

// fetchCredentials gets every value, and has what was made for this command
// alone written down before it is used.
func (s *Supervisor) fetchCredentials(ctx context.Context, inv *invocation) error {
	if len(inv.policy.Credentials) == 0 {
		return nil
	}
	if inv.canary != "" {
		return plantCanaries(inv)
	}
	ready := inv.prefetch.take()
	if ready == nil {
		ready = &ahead{leases: s.cfg.Leases.Hold(inv.id, inv.policy.Name)}
	}
	inv.mu.Lock()
	inv.leases = ready.leases
	inv.mu.Unlock()
	rest := missing(inv.policy, ready.values)
	fetched, err := s.cfg.Credentials.Resolve(ctx, rest, ready.leases.Keep)
	if err != nil {
		ready.drop()
		return &api.Error{Code: "credential", Message: err.Error(), ExitCode: api.ExitFailed,
			Hint: "the command was not run; check the credential's source as the supervisor's user"}
	}
	inv.secrets = inOrder(inv.policy.Credentials, slices.Concat(ready.values, fetched))
	if err := s.learner.fetched(inv.policy.Credentials, inv.secrets); err != nil {
		return errors.Join(err, s.dropCredentials(inv))
	}
	if err := s.markCredentials(inv); err != nil {
		return errors.Join(err, s.dropCredentials(inv))
	}
	if inv.expiry, err = newExpiry(inv.policy.Credentials, inv.secrets); err != nil {
		return errors.Join(err, s.dropCredentials(inv))
	}
	return nil
}

// missing are the credentials of which there are no values yet.
func missing(p *policy.Policy, ready []credential.Resolved) []policy.Credential {
	return slices.DeleteFunc(bounded(p), func(c policy.Credential) bool {
		return slices.ContainsFunc(ready, func(r credential.Resolved) bool { return r.Env == c.Env })
	})
}

// inOrder puts values, one of each, in the order of their credentials.
func inOrder(credentials []policy.Credential, values []credential.Resolved) []credential.Resolved {
	at := map[string]int{}
	for i, c := range credentials {
		at[c.Env] = i
	}
	slices.SortFunc(values, func(a, b credential.Resolved) int { return at[a.Env] - at[b.Env] })
	return values
}

// bounded gives credentials that have no ttl that of their invocation, so that
// a lease which nobody can revoke does not outlive it for long.
func bounded(p *policy.Policy) []policy.Credential {
	credentials := slices.Clone(p.Credentials)
	for i := range credentials {
		if credentials[i].TTL == 0 && p.Limits.Timeout > 0 {
			credentials[i].TTL = p.Limits.Timeout + launchTimeout
		}
	}
	return credentials
}

func (s *Supervisor) dropCredentials(inv *invocation) error {
	credential.DestroyAll(inv.secrets)
	if inv.expiry != nil {
		inv.expiry.stop()
	}
	if inv.leases != nil {
		inv.leases.Release()
	}
	return nil
}

// revokeWait is how long whoever revokes leases waits to be told that they are.
const revokeWait = 15 * time.Second

// RevokeCredentials implements server.CredentialRevoker: the leases of
// sandboxes, of a policy, or all of them are revoked now, whatever runs.
func (s *Supervisor) RevokeCredentials(ctx context.Context, req *api.RevokeRequest) (*api.RevokeReply, error) {
	ids := map[string]bool{}
	for _, prefix := range req.IDs {
		id, err := s.leaseholder(prefix)
		if err != nil {
			return nil, err
		}
		ids[id] = true
	}
	ctx, cancel := context.WithTimeout(ctx, revokeWait)
	defer cancel()
	rows := s.cfg.Leases.Revoke(ctx, func(e lease.Entry) bool {
		return req.All || req.Policy != "" && e.Policy == req.Policy || ids[e.Sandbox]
	})
	s.cfg.Log.WithField("leases", len(rows)).Info("an operator revoked credentials")
	return &api.RevokeReply{Leases: told(rows)}, nil
}

// leaseholder resolves an ID or a unique prefix among the sandboxes that are
// known, and among those that have left nothing but a lease.
func (s *Supervisor) leaseholder(prefix string) (string, error) {
	inv, err := s.find(prefix, true)
	if err == nil {
		return inv.id, nil
	}
	for _, row := range s.cfg.Leases.Pending() {
		if prefix != "" && row.Sandbox != "" && strings.HasPrefix(row.Sandbox, prefix) {
			return row.Sandbox, nil
		}
	}
	return "", err
}

// told are leases as an operator sees them.
func told(rows []lease.Row) []api.Lease {
	leases := make([]api.Lease, 0, len(rows))
	for _, row := range rows {
		leases = append(leases, api.Lease{Sandbox: row.Sandbox, Policy: row.Policy, Variable: row.Variable, Provider: row.Provider,
			State: row.State, Expires: row.Expires, Problem: row.Problem})
	}
	return leases
}

// leaseNotices say which leases of ended sandboxes are not revoked yet, though
// it was tried.
func (s *Supervisor) leaseNotices() []string {
	var notices []string
	for _, row := range s.cfg.Leases.Pending() {
		if row.Problem != "" {
			notices = append(notices, fmt.Sprintf("the lease of %s, sandbox %s of policy %s, is not revoked yet: %s",
				row.Variable, row.Sandbox, row.Policy, row.Problem))
		}
	}
	return notices
}

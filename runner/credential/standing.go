package credential

import (
	"context"

	"github.com/creel-sandbox/creel/policy"
)

// Keeper is a Provider that keeps its values and makes none: to fetch one
// costs little and changes nothing.
type Keeper interface{ KeepsValues() }

// KeepsValues implements Keeper.
func (*Systemd) KeepsValues() {}

// Kept fetches the value of a credential whose provider is a Keeper. Of any
// other, and of one that cannot be fetched, it has none.
func (r *Resolver) Kept(ctx context.Context, c policy.Credential) (secret Secret, ok bool) {
	keeper, ok := r.providers[c.Provider].(Keeper)
	if !ok {
		return Secret{}, false
	}
	grant, err := keeper.(Provider).Fetch(ctx, Ask{Reference: c.Reference})
	if err == nil {
		err = CheckValue(grant.Secret)
	}
	if err != nil {
		grant.Secret.Destroy()
		return Secret{}, false
	}
	return grant.Secret, true
}

// Keeps says whether the provider of a credential is a Keeper.
func (r *Resolver) Keeps(c policy.Credential) bool {
	_, ok := r.providers[c.Provider].(Keeper)
	return ok
}

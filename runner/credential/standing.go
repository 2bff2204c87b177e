package credential

import (
	"context"
	"path/filepath"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/filestate"
)

// Keeper is a Provider that keeps its values and makes none: to fetch one
// costs little and changes nothing.
type Keeper interface {
	// State is that of the file which has the value that a reference names: as
	// long as it is the same, and not zero, so is the value.
	State(reference string) filestate.State
}

// State implements Keeper.
func (s *Systemd) State(name string) filestate.State {
	if checkName(name) != nil || s.dir == "" {
		return filestate.State{}
	}
	return filestate.Of(filepath.Join(s.dir, name))
}

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

// StateOf is the state of a credential's value; kept says whether its provider
// is a Keeper.
func (r *Resolver) StateOf(c policy.Credential) (state filestate.State, kept bool) {
	keeper, kept := r.providers[c.Provider].(Keeper)
	if !kept {
		return filestate.State{}, false
	}
	return keeper.State(c.Reference), true
}

// Keeps says whether the provider of a credential is a Keeper.
func (r *Resolver) Keeps(c policy.Credential) bool {
	_, ok := r.providers[c.Provider].(Keeper)
	return ok
}

package credential

import (
	"context"
	"maps"
	"slices"

	"github.com/creel-sandbox/creel/policy"
)

// Level says how bad what was found is.
type Level int

// The levels of a Note.
const (
	Fine    Level = iota
	Warning       // it works, and should be looked at
	Failing       // a command that needs it is refused
)

// Note is one thing that an operator should know of a provider.
type Note struct {
	About       string
	Level       Level
	Found, Hint string
}

// Examiner is a Provider that can be asked how it is and whether it would have
// what these references name, each given once. To be asked makes nothing, and
// takes no longer than ctx. A note holds no value.
type Examiner interface {
	Examine(ctx context.Context, references []string) []Note
}

// Examine asks the providers what they have to tell, those too that no
// credential names, and of the providers that are missing here.
func (r *Resolver) Examine(ctx context.Context, credentials []policy.Credential) []Note {
	references := map[string][]string{}
	for name, provider := range r.providers {
		if provider != nil {
			references[name] = nil
		}
	}
	for _, c := range credentials {
		if !slices.Contains(references[c.Provider], c.Reference) {
			references[c.Provider] = append(references[c.Provider], c.Reference)
		}
	}
	var notes []Note
	for _, name := range slices.Sorted(maps.Keys(references)) {
		switch provider := r.providers[name].(type) {
		case nil:
			notes = append(notes, Note{About: name, Level: Failing, Found: "policies name " + name + ":" + references[name][0] + ": " + ErrNoProvider.Error()})
		case Examiner:
			notes = append(notes, provider.Examine(ctx, references[name])...)
		}
	}
	return notes
}

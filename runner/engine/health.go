package engine

import (
	"context"

	"github.com/creel-sandbox/creel/runner/advisory"
)

// Health is what an engine knows of itself, for the doctor.
type Health struct {
	Version string // for people
	// Builds are the runtimes that it makes containers with.
	Builds []advisory.Build
	Notes  []Note
}

// Note is one thing an operator should know of an engine.
type Note struct {
	About, Found, Hint string
	Warning            bool
}

// Examiner is an engine that knows more of itself than its version.
type Examiner interface {
	Examine(ctx context.Context) (*Health, error)
}

// Examine asks an engine how it is; of one that is no Examiner only the
// version is known.
func Examine(ctx context.Context, e Engine) (*Health, error) {
	if examiner, ok := e.(Examiner); ok {
		return examiner.Examine(ctx)
	}
	version, err := e.Version(ctx)
	if err != nil {
		return nil, err
	}
	return &Health{Version: version}, nil
}

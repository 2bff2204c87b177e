package engine

import "github.com/creel-sandbox/creel/runner/advisory"

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

// Package fault is where a test has the replacement of a file fail or end, which
// a disk does too seldom. It imports nothing, and never does anything by itself;
// being internal, it is there for privatefile and privatefiletest alone.
package fault

// Before is asked before each step of a replacement. An error takes the place
// of the step.
var Before = func(step string) error { return nil }

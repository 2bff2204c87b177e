package testrig

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
)

// Lasting stands for a test where there is none, or for all of a package,
// towards helpers that want one. What fails goes to standard error.
type Lasting struct {
	testing.TB
	// Prefix begins each line of a failure.
	Prefix string

	mu     sync.Mutex
	undo   []func()
	failed []string
}

var errFatal = errors.New("what was to be set up failed; see above")

// Helper implements testing.TB.
func (l *Lasting) Helper() {}

// Cleanup implements testing.TB: End calls f.
func (l *Lasting) Cleanup(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.undo = append(l.undo, f)
}

// TempDir implements testing.TB: End removes the directory.
func (l *Lasting) TempDir() string {
	dir, err := os.MkdirTemp("", "creel-lasting-")
	l.Check(err)
	l.Cleanup(func() { l.Check(os.RemoveAll(dir)) })
	return dir
}

// Errorf implements testing.TB.
func (l *Lasting) Errorf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	fmt.Fprintln(os.Stderr, l.Prefix+text)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = append(l.failed, text)
}

// Fatal implements testing.TB.
func (l *Lasting) Fatal(args ...any) { l.Fatalf("%s", fmt.Sprint(args...)) }

// Fatalf implements testing.TB: the innermost Try returns.
func (l *Lasting) Fatalf(format string, args ...any) {
	l.Errorf(format, args...)
	panic(errFatal)
}

// Check fails fatally for an error.
func (l *Lasting) Check(err error) {
	if err != nil {
		l.Fatal(err)
	}
}

// Failures are what failed so far.
func (l *Lasting) Failures() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.failed)
}

// Try runs f and gives what it failed with fatally, if it did.
func (l *Lasting) Try(f func()) (err error) {
	defer func() {
		switch p := recover(); {
		case p == errFatal:
			failed := l.Failures()
			err = errors.New(failed[len(failed)-1])
		case p != nil:
			panic(p)
		}
	}()
	f()
	return nil
}

// End undoes everything, last first; what fails does not keep the others.
func (l *Lasting) End() {
	for len(l.undo) > 0 {
		last := l.undo[len(l.undo)-1]
		l.undo = l.undo[:len(l.undo)-1]
		_ = l.Try(last) // Failures has it
	}
}

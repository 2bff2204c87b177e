package main

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
)

// lasting stands for a test towards the helpers that want one.
type lasting struct {
	testing.TB
	mu     sync.Mutex
	undo   []func()
	failed []string
}

var errFatal = errors.New("what is measured could not be set up; see above")

func (l *lasting) Helper() {}

func (l *lasting) Cleanup(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.undo = append(l.undo, f)
}

func (l *lasting) Errorf(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	fmt.Fprintln(os.Stderr, "bench:", text)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = append(l.failed, text)
}

func (l *lasting) Fatal(args ...any) { l.Fatalf("%s", fmt.Sprint(args...)) }

func (l *lasting) Fatalf(format string, args ...any) {
	l.Errorf(format, args...)
	panic(errFatal)
}

func (l *lasting) check(err error) {
	if err != nil {
		l.Fatal(err)
	}
}

// try runs f and gives what it failed with fatally, if it did.
func (l *lasting) try(f func()) (err error) {
	defer func() {
		switch p := recover(); {
		case p == errFatal:
			err = errors.New(l.failed[len(l.failed)-1])
		case p != nil:
			panic(p)
		}
	}()
	f()
	return nil
}

// end undoes everything, last first; what fails does not keep the others.
func (l *lasting) end() {
	for len(l.undo) > 0 {
		last := l.undo[len(l.undo)-1]
		l.undo = l.undo[:len(l.undo)-1]
		_ = l.try(last)
	}
}

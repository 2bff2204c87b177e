// Package privatefiletest has the replacement of a private file fail, or end as
// by kill -9, at each of its steps, for the tests of packages that keep such
// files. It imports the standard library and what privatefile has for it, no
// program links it, and tests that use it never run beside one another.
package privatefiletest

import (
	"runtime"

	"github.com/creel-sandbox/creel/runner/privatefile/internal/fault"
)

// Steps makes a change, which replaces one file, and gives the names of its
// steps in their order.
func Steps(change func() error) (names []string, err error) {
	err = with(func(step string) error { names = append(names, step); return nil }, change)
	return names, err
}

// Fail makes a change whose step of this name fails with an error, and gives
// what the change says of it.
func Fail(step string, failure error, change func() error) error {
	return with(func(next string) error {
		if next == step {
			return failure
		}
		return nil
	}, change)
}

// Kill makes a change that ends before the step of this name, as if the process
// was killed: nothing of it runs any more but what it has deferred, such as the
// closing of descriptors, which the kernel does for a process that is killed. It
// says whether the change was ended.
func Kill(step string, change func() error) (killed bool) {
	_ = with(func(next string) error {
		if next == step {
			killed = true
			runtime.Goexit()
		}
		return nil
	}, func() error {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = change()
		}()
		<-ended
		return nil
	})
	return killed
}

func with(before func(step string) error, change func() error) error {
	usual := fault.Before
	defer func() { fault.Before = usual }()
	fault.Before = before
	return change()
}

package main

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// dieWithParent has the kernel end creel, and so the sandbox, when the process
// that started it ends, however that does: an agent that is killed cannot end
// its commands itself. It is the thread that started creel that counts
// (PR_SET_PDEATHSIG, prctl(2)).
func dieWithParent() error {
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("ask to die with parent: %w", err)
	}
	return nil
}

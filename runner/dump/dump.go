// Package dump keeps the memory of a process that is about to hold a secret to
// itself. creel-init, which links as little as it can, says the same in its
// first line.
//
// It imports the standard library and x/sys only, so that the smallest client
// can link it. It never undoes what it did, and never changes another process.
package dump

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Forbid makes this process non-dumpable (PR_SET_DUMPABLE, prctl(2)): it is in no
// core file, and other processes of its user can neither trace it nor open its
// memory, environment and descriptors below /proc, which are root's from then on
// (ptrace(2), proc(5)). Who has CAP_SYS_PTRACE can. Forks inherit it, until they
// execute another program.
func Forbid() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("become non-dumpable: %w", err)
	}
	return nil
}

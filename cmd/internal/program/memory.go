package program

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// ForbidDumps keeps this process, which is about to hold a secret, out of core
// files and from other processes of the same user (PR_SET_DUMPABLE, prctl(2)).
func ForbidDumps() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("become non-dumpable: %w", err)
	}
	return nil
}

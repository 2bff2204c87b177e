package scan

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
	"kernel.org/pub/linux/libs/security/libcap/psx"

	"github.com/creel-sandbox/creel/runner/dump"
)

// The bounds of the process. A pack that makes it need more ends it, which
// the supervisor takes for a search that failed.
const (
	maxMemory   = 1 << 30
	softMemory  = 768 << 20
	maxNewCache = 256 << 20
	maxOpen     = 1024
)

// confine gives up what the search does not need: it can open nothing but what
// is below its directories, and that only to read; it can gain no rights, and
// use no more memory than it should. User and network are the supervisor's to
// take away, before.
func confine(places []place) error {
	for _, limit := range []struct {
		resource int
		most     uint64
	}{
		{unix.RLIMIT_DATA, maxMemory},
		{unix.RLIMIT_FSIZE, maxNewCache},
		{unix.RLIMIT_NOFILE, maxOpen},
		{unix.RLIMIT_CORE, 0},
	} {
		if err := unix.Setrlimit(limit.resource, &unix.Rlimit{Cur: limit.most, Max: limit.most}); err != nil {
			return fmt.Errorf("bound search: %w", err)
		}
	}
	debug.SetMemoryLimit(softMemory)
	var dirs []string
	for _, p := range places {
		if !p.File {
			dirs = append(dirs, fmt.Sprintf("/proc/self/fd/%d", p.fd))
		}
	}
	if err := restrict(dirs); err != nil {
		return fmt.Errorf("confine search: %w", err)
	}
	// No other process of the same user looks into it. It comes
	// after the last use of /proc/self, which is root's from then on.
	return dump.Forbid()
}

// restrict applies no_new_privs and Landlock to every thread. A kernel without
// Landlock leaves what user and network namespace leave; one that has it must
// apply it. The first version is enough: it covers every way to open a file
// (landlock(7)).
func restrict(dirs []string) error {
	if _, _, errno := psx.Syscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("set no_new_privs: %w", errno)
	}
	_, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errors.Is(errno, unix.ENOSYS) || errors.Is(errno, unix.EOPNOTSUPP) {
		return nil
	}
	return landlock.V1.RestrictPaths(landlock.RODirs(dirs...))
}

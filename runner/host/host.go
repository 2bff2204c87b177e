// Package host prepares what the supervisor's process needs of its host
// before it can make sandboxes: a mount namespace of its own, the reaping of
// orphans, one lock a runtime directory, and a control group to put sandboxes
// in.
//
// It imports cgroup and dump, and never starts a sandbox. Everything it changes is the
// process's own, or is removed again by what it returns.
package host

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/dump"
)

// ErrLocked says that another supervisor, or a run of the OCI runtime that a
// killed one started, still holds the runtime directory.
var ErrLocked = errors.New("another supervisor uses this runtime directory")

// EnterMountNamespace gives the process a mount namespace of its own by
// executing itself again with args, which must make the next call
// unnecessary. It only returns on an error.
//
// Mounts of the host still arrive here (MS_SLAVE, mount_namespaces(7)); what
// is mounted here is seen by nobody else and ends with the process, also when
// it is killed.
func EnterMountNamespace(args []string) error {
	// unshare changes only the calling thread, which execve then makes the
	// process's only one.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("stop mounts from spreading: %w", err)
	}
	return fmt.Errorf("execute again: %w", unix.Exec("/proc/self/exe", args, os.Environ()))
}

// Harden makes the process a parent that collects orphans
// (PR_SET_CHILD_SUBREAPER), since the OCI runtime leaves the init of a
// sandbox behind as one, and keeps its memory, which holds credentials, from
// core files and from other processes: only who has CAP_SYS_PTRACE can read it.
// It must come before the first credential.
func Harden() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become subreaper: %w", err)
	}
	if err := dump.Forbid(); err != nil {
		return err
	}
	// One byte, as for sandboxes: at 0 a piped core_pattern is still served.
	// It fails, and fails the start, where the limit was 0 and cannot be raised.
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1, Max: 1}); err != nil {
		return fmt.Errorf("forbid core files: %w", err)
	}
	// No part of memory belongs in a core (core(5)). That is for gcore(1),
	// which asks nothing of the above but heeds this: the libraries that talk to
	// a vault keep values where creel cannot wipe them. Children inherit it.
	if err := os.WriteFile("/proc/self/coredump_filter", []byte("0"), 0); err != nil {
		return fmt.Errorf("keep memory out of cores: %w", err)
	}
	unix.Umask(0o022)
	return nil
}

// HideUnifiedTree covers the list of v2 controllers of a hybrid host, in this
// mount namespace only, because crun refuses to work with the v1 controllers
// while it sees one there.
func HideUnifiedTree() error {
	list := "/sys/fs/cgroup/unified/cgroup.controllers"
	if err := unix.Mount(os.DevNull, list, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("cover %s: %w", list, err)
	}
	return nil
}

// Lock takes the one lock of a runtime directory, the directory itself, so
// that no file is left behind, and returns what holds it (flock(2)). Runs of
// the OCI runtime inherit it, so a supervisor that follows a killed one waits
// here, for up to wait, until the last of them has ended.
func Lock(dir string, wait time.Duration) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open runtime directory: %w", err)
	}
	for deadline := time.Now().Add(wait); ; time.Sleep(10 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		if time.Now().After(deadline) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", f.Name(), ErrLocked)
		}
	}
}

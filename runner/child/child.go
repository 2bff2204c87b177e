// Package child is how the supervisor starts a process for itself, so that it
// gets nothing of the supervisor's but what it is given, and does not outlive
// it.
//
// It imports the standard library and golang.org/x/sys only. It never starts a
// process: who may do that is for each caller to justify.
package child

import (
	"fmt"
	"math"
	"runtime"

	"golang.org/x/sys/unix"
)

// Isolate gives the attributes of a process in a session and a PID namespace of
// its own, so that what it starts dies with it (pid_namespaces(7)), and in more
// new namespaces where the caller names them (clone(2)); it dies with this
// process.
//
// The kernel sends Pdeathsig when the thread that forked ends, so the calling
// goroutine keeps its thread until it calls done, which it does once the
// process has ended. Descriptors that this process was given (systemd's
// sockets) must not be inherited, so all are marked before the fork
// (close_range(2)).
func Isolate(namespaces uintptr) (attr *unix.SysProcAttr, done func(), err error) {
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("mark descriptors: %w", err)
	}
	runtime.LockOSThread()
	attr = &unix.SysProcAttr{Setsid: true, Pdeathsig: unix.SIGKILL, Cloneflags: unix.CLONE_NEWPID | namespaces}
	return attr, runtime.UnlockOSThread, nil
}

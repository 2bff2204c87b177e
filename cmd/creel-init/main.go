// The runtime is not to look for a CPU limit: it would keep a cgroup file open
// and read it again every few seconds in each idle sandbox.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command creel-init is PID 1 of every sandbox, and the process that becomes
// the sandbox's one command. It imports the standard library (without os, net
// and fmt, see package initproto), golang.org/x/sys/unix and initproto. It
// never reads a configuration or an environment, never logs, never runs two
// commands, and never outlives its control socket. Its one argument, where an
// engine cannot hand it a descriptor, is the path of that socket.
//
// As PID 1 it says hello on descriptor 3, opens the declared listeners and
// hands them over, keeps a child of itself waiting, passes that child the one
// job, forwards signals and window sizes to it, reaps, reports how the command
// ended, and ends: with it the kernel ends everything else in its PID
// namespace.
//
// The waiting child exists because a seccomp filter cannot be installed
// between Go's fork and exec, and starting a process when the job is already
// there would cost its caller the time.
//
// Current limitations: a signal goes to the command's own process, not to its
// group, as with docker-kill(1); a file that is neither a program nor a script
// with an interpreter line is refused with ENOEXEC and not guessed to be a
// shell script, as execvp(3) would; a command can end its own init (by
// prlimit(2), for one), and with it its own sandbox.
package main

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// controlFD is the one descriptor that is inherited, or connected by PID 1
// itself: the socket to creeld in PID 1, the socket to PID 1 in the waiting child.
const controlFD = 3

// main takes its role from the kernel, which no argument or variable can
// forge: PID 1 is the init, any other process the waiting child.
func main() {
	// Before all else, so that nothing can look in: no ptrace(2), no core,
	// and /proc/PID/{mem,environ,fd,exe} closed to the same user.
	role := waitForCommand
	if unix.Getpid() == 1 {
		role = runInit
	}
	if unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) != nil || role() != nil {
		syscall.Exit(1)
	}
}

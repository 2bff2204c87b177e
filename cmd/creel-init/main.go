// The runtime is not to look for a CPU limit: it would keep a cgroup file open
// and read it again every few seconds in each idle sandbox.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command creel-init is PID 1 of every sandbox, and forks the process that
// becomes the sandbox's one command. It imports the standard library (without
// os, net and fmt, see package initproto), golang.org/x/sys, initproto and
// registers. It never reads a configuration or an environment, never logs, never
// runs two commands, and never outlives its control socket. Its one argument,
// where an engine cannot hand it a descriptor, is the path of that socket.
//
// It says hello on descriptor 3, opens the declared listeners and hands them
// over, waits for the one job, forks a child that becomes the command, forwards
// signals and window sizes to it, reaps, reports how the command ended, and
// ends: with it the kernel ends everything else in its PID namespace.
//
// The child is forked by hand (child.go) and does what it must by system calls
// alone (become.go): package syscall cannot install a seccomp filter between
// fork and exec, and a process of its own that waited to do it would cost every
// sandbox the start of a second Go program, and creeld a second process to
// compare before each command.
//
// Current limitations: a signal goes to the command's own process, not to its
// group, as with docker-kill(1); a file that is neither a program nor a script
// with an interpreter line is refused with ENOEXEC and not guessed to be a
// shell script, as execvp(3) would; a command can end its own init (by
// prlimit(2), for one), and with it its own sandbox.
package main

import (
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// controlFD is the one descriptor that is inherited, or connected by PID 1
// itself: the socket to creeld.
const controlFD = 3

func main() {
	// Before all else, so that nothing can look in: no ptrace(2), no core,
	// and /proc/PID/{mem,environ,fd,exe} closed to the same user.
	err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	// One thread at a time runs Go code here. Where more may, the Go runtime's
	// monitor wakes every 20 µs and more for 10 ms after each call that blocks.
	runtime.GOMAXPROCS(1)
	if err == nil {
		err = runInit()
	}
	exit(err)
}

// exit ends the process, and with it the sandbox.
func exit(err error) {
	code := 0
	if err != nil {
		code = 1
	}
	syscall.Exit(code)
}

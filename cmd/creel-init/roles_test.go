package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// roles are what this test binary does instead of testing.
var roles = map[string]func(args []string){
	"prepare-sandbox": prepareSandbox,
	"attack-init":     attackInit,
	"peek-init":       peekInit,
	"signal-group":    signalGroup,
	"terminal-report": terminalReport,
	"call-filtered":   callFiltered,
}

// prepareSandbox stands in for the engine: inside new namespaces it mounts
// what a sandbox has, drops every privilege and executes the init with its
// socket as descriptor 3. Flags make it careless in ways that an engine, or
// whoever started it, might be.
func prepareSandbox(flags []string) {
	runtime.LockOSThread() // no_new_privs and the signal mask are the thread's
	check(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""))
	check(unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""))
	check(unix.Mount("devpts", "/dev/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"))
	check(unix.Mount("/dev/pts/ptmx", "/dev/ptmx", "", unix.MS_BIND, ""))
	raiseLoopback()
	check(syscall.Chdir("/"))
	check(syscall.Setgroups(nil))
	check(syscall.Setgid(sandboxUID))
	check(syscall.Setuid(sandboxUID))
	check(unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
	if slices.Contains(flags, "leak-fds") {
		for _, want := range []int{5, 100, 250} {
			fd, err := unix.Open("/etc/passwd", unix.O_RDONLY, 0)
			check(err)
			check(unix.Dup2(fd, want))
		}
	}
	if slices.Contains(flags, "odd-signals") {
		signal.Ignore(unix.SIGINT, unix.SIGPIPE, unix.SIGCHLD, unix.SIGUSR1)
		mask := unix.Sigset_t{}
		mask.Val[0] = 1<<(unix.SIGTERM-1) | 1<<(unix.SIGALRM-1)
		check(unix.PthreadSigmask(unix.SIG_BLOCK, &mask, nil))
	}
	if slices.Contains(flags, "soft-nofile") {
		check(syscall.Setrlimit(unix.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 300, Max: 600}))
	}
	if slices.Contains(flags, "few-processes") {
		check(syscall.Setrlimit(unix.RLIMIT_NPROC, &syscall.Rlimit{Cur: 40, Max: 40}))
	}
	path := initPathBeside(os.Args[0])
	arguments := []string{"creel-init"}
	if i := slices.Index(flags, "argument"); i >= 0 {
		arguments = append(arguments, flags[i+1:]...)
	}
	check(syscall.Exec(path, arguments, os.Environ()))
}

func initPathBeside(probe string) string { return probe[:len(probe)-len("probe")] + "creel-init" }

// raiseLoopback sets lo up, as the OCI runtimes do.
func raiseLoopback() {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	check(err)
	lo, err := unix.NewIfreq("lo")
	check(err)
	check(unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, lo))
	lo.SetUint16(lo.Uint16() | unix.IFF_UP)
	check(unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo))
	check(unix.Close(fd))
}

// check ends a role that cannot do what it was asked to.
func check(err error) {
	if err != nil {
		_, _, line, _ := runtime.Caller(1)
		fmt.Fprintf(os.Stderr, "%s: line %d: %v\n", os.Args[1], line, err)
		os.Exit(99)
	}
}

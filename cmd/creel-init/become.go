package main

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/initproto"
)

// What the forked child runs, between clone(2) and execve(2): system calls and
// nothing else (see clone). It allocates nothing, writes no pointer into the
// heap, and cannot panic.

// launch is all that the child needs, in memory before it is forked.
type launch struct {
	image
	stdio    [3]uintptr  // descriptors, all above 3
	tty      bool        // stdin is the command's terminal
	cwd      *byte       // with its NUL
	files    unix.Rlimit // the command's RLIMIT_NOFILE, which it cannot raise
	verdicts uintptr     // where the child says how far it came

	verdict verdict
	here    [unix.PathMax]byte
	fs      unix.Statfs_t
}

// newLaunch makes a launch ready, but for the pipe of its verdicts.
func newLaunch(job initproto.Job, stdio []int, files unix.Rlimit) *launch {
	l := &launch{image: newImage(job), tty: job.TTY, files: unix.Rlimit{Cur: files.Cur, Max: files.Cur}}
	for i := range l.stdio {
		l.stdio[i] = uintptr(stdio[i])
	}
	l.cwd = l.pointer([]byte(job.Cwd))
	return l
}

// verdict is what the child says: once with no errno, that only the filter and
// execve are left; and once with one, that it gave up.
type verdict struct{ step, errno uint32 }

var dot = [...]byte{'.', 0}

// become turns the child into the command. It never returns.
//
//go:nosplit
//go:norace
func (l *launch) become() {
	step, errno := l.prepare()
	if errno == 0 {
		l.say(0, 0)
		step, errno = l.execute()
	}
	l.say(step, errno)
	for {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 1, 0, 0)
	}
}

//go:nosplit
//go:norace
func (l *launch) say(step initproto.Step, errno unix.Errno) {
	l.verdict = verdict{uint32(step), uint32(errno)}
	unix.RawSyscall(unix.SYS_WRITE, l.verdicts, uintptr(unsafe.Pointer(&l.verdict)), unsafe.Sizeof(l.verdict))
}

// prepare does all that the command's filter need not allow. The session is
// the child's own, so that it can take a controlling terminal.
//
//go:nosplit
//go:norace
func (l *launch) prepare() (initproto.Step, unix.Errno) {
	if _, _, errno := unix.RawSyscall(unix.SYS_SETSID, 0, 0, 0); errno != 0 {
		return initproto.StepChild, errno
	}
	// 0, 1 and 2 survive execve; those received close themselves.
	for to, from := range l.stdio {
		if _, _, errno := unix.RawSyscall(unix.SYS_DUP3, from, uintptr(to), 0); errno != 0 {
			return initproto.StepStdio, errno
		}
	}
	if l.tty {
		if _, _, errno := unix.RawSyscall(unix.SYS_IOCTL, 0, unix.TIOCSCTTY, 0); errno != 0 {
			return initproto.StepTerminal, errno
		}
	}
	unix.RawSyscall(unix.SYS_UMASK, 0o022, 0, 0)
	if _, _, errno := unix.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE,
		uintptr(unsafe.Pointer(&l.files)), 0, 0, 0); errno != 0 {
		return initproto.StepChild, errno
	}
	var none uint64
	if _, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK,
		uintptr(unsafe.Pointer(&none)), 0, unsafe.Sizeof(none), 0, 0); errno != 0 {
		return initproto.StepChild, errno
	}
	return initproto.StepChdir, l.enter()
}

// enter changes into the working directory, and refuses one that is outside
// of the root or in a proc file system, however it was named: both are ways to
// a directory of the host (CVE-2024-21626).
//
//go:nosplit
//go:norace
func (l *launch) enter() unix.Errno {
	if _, _, errno := unix.RawSyscall(unix.SYS_CHDIR, uintptr(unsafe.Pointer(l.cwd)), 0, 0); errno != 0 {
		return errno
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_GETCWD,
		uintptr(unsafe.Pointer(&l.here[0])), uintptr(len(l.here)), 0); errno != 0 {
		return errno
	}
	if l.here[0] != '/' { // "(unreachable)": not under the root (getcwd(3))
		return unix.ENOENT
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_STATFS,
		uintptr(unsafe.Pointer(&dot[0])), uintptr(unsafe.Pointer(&l.fs)), 0); errno != 0 {
		return errno
	}
	inProc := true
	for i := 0; i < len("/proc"); i++ {
		inProc = inProc && l.here[i] == "/proc"[i]
	}
	end := l.here[len("/proc")]
	if inProc && (end == 0 || end == '/') || l.fs.Type == unix.PROC_SUPER_MAGIC {
		return unix.EACCES
	}
	return 0
}

// execute installs the filter and becomes the command; no_new_privs, which
// seccomp(2) asks for, was set by the engine.
//
//go:nosplit
//go:norace
func (l *launch) execute() (initproto.Step, unix.Errno) {
	if _, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0,
		uintptr(unsafe.Pointer(&l.filterProg))); errno != 0 {
		return initproto.StepFilter, errno
	}
	last := unix.ENOENT
	for _, path := range l.paths {
		_, _, errno := unix.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(path)),
			uintptr(unsafe.Pointer(unsafe.SliceData(l.argv))), uintptr(unsafe.Pointer(unsafe.SliceData(l.env))))
		switch errno {
		case unix.ENOENT, unix.ENOTDIR:
		case unix.EACCES: // execvp(3): go on, but remember that there was one
			last = errno
		default:
			return initproto.StepExec, errno
		}
	}
	return initproto.StepExec, last
}

package main

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const lastSignal = 64

// harden undoes what was inherited and what the Go runtime did to the process,
// in PID 1 and in the waiting child.
func harden() error {
	if err := dropSignals(); err != nil {
		return err
	}
	return sealDescriptors()
}

// raiseFileLimit makes the hard RLIMIT_NOFILE of PID 1 the soft one too. The
// kernel refuses to pass a descriptor on while all processes of the user have
// more than that in messages (unix(7), ETOOMANYREFS), wherever they run: it
// must be more than a command can have.
func raiseFileLimit() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Cur = limit.Max
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
}

// lowerFileLimit makes the soft RLIMIT_NOFILE, which is the command's, the hard
// one too; what is above it is PID 1's alone.
//
// It undoes first what package syscall did when it was initialized: it raised
// the soft limit. The first thing that syscall.Exec does is to set it back,
// and nothing else does or tells the old value, so this executes the empty
// path, which never succeeds (ENOENT, path_resolution(7)). Doing that to the
// real command would be too late: its filter may refuse prlimit(2).
func lowerFileLimit() error {
	_ = syscall.Exec("", nil, nil)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	limit.Max = limit.Cur
	return unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
}

// dropSignals gives every signal its default disposition, behind the Go
// runtime's back. For PID 1 the kernel drops a signal from inside the
// namespace that has its default disposition, whichever it is
// (pid_namespaces(7)), while the runtime's handlers would end the process:
// SIGSEGV and its like with a forged si_code even where os/signal ignores
// them. And the command must inherit defaults: execve(2) keeps an ignored
// signal ignored. What is lost is preemption by SIGURG, which no loop here
// needs, and the panic on a bad pointer, which now kills, as it should.
func dropSignals() error {
	var action [32]byte // struct sigaction of the kernel: SIG_DFL, no flags, empty mask
	for sig := uintptr(1); sig <= lastSignal; sig++ {
		if sig == uintptr(unix.SIGKILL) || sig == uintptr(unix.SIGSTOP) {
			continue // cannot be changed
		}
		_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, sig,
			uintptr(unsafe.Pointer(&action)), 0, unsafe.Sizeof(uint64(0)), 0, 0)
		if errno != 0 {
			return errno
		}
	}
	return nil
}

// sealDescriptors leaves descriptor 3 and /dev/null as 0, 1 and 2, and closes
// what else was inherited: a leaked descriptor of the host is a way out
// (CVE-2024-21626).
func sealDescriptors() error {
	if err := unix.CloseRange(controlFD+1, ^uint(0)>>1, 0); err != nil {
		return err
	}
	unix.CloseOnExec(controlFD)
	if err := unix.SetNonblock(controlFD, false); err != nil {
		return err // there is no descriptor 3
	}
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	for fd := 0; fd < controlFD; fd++ {
		if err := unix.Dup3(null, fd, 0); err != nil {
			return err
		}
	}
	return unix.Close(null)
}

// errnoOf is the number to report for an error of a system call.
func errnoOf(err error) syscall.Errno {
	if errno, ok := err.(syscall.Errno); ok {
		return errno
	}
	return unix.EPROTO
}

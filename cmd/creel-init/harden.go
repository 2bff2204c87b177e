package main

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/initproto"
)

const lastSignal = 64

// harden undoes what was inherited and what the Go runtime did to the process.
func harden() error {
	if err := dropSignals(); err != nil {
		return err
	}
	return sealDescriptors()
}

// fileLimit gives the RLIMIT_NOFILE that PID 1 was started with. Its soft limit
// is the command's, and what is above it PID 1's alone.
//
// Package syscall raised the soft limit when it was initialized. The first
// thing that syscall.Exec does is to set it back, and nothing else does or tells
// the old value, so this executes the empty path, which never succeeds (ENOENT,
// path_resolution(7)).
func fileLimit() (limit unix.Rlimit, err error) {
	_ = syscall.Exec("", nil, nil)
	err = unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	return limit, err
}

// withHardFileLimit calls f while the hard RLIMIT_NOFILE is in force: the
// kernel refuses to pass a descriptor on while all processes of the user have
// more than the limit in messages (unix(7), ETOOMANYREFS), wherever they run, so
// it must be more than a command can have.
func withHardFileLimit(limit unix.Rlimit, f func() error) error {
	hard := unix.Rlimit{Cur: limit.Max, Max: limit.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &hard); err != nil {
		return fail(initproto.StepPrepare, err)
	}
	if err := f(); err != nil {
		return err
	}
	return fail(initproto.StepPrepare, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
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

// Package seccomp turns a profile in Docker's seccomp JSON format into the
// BPF program that creel-init installs just before execve, and can run such a
// program without a kernel.
//
// It may import the standard library, golang.org/x, libseccomp and profiles;
// it is the only package with cgo. It never installs a filter and never reads
// a file: bytes in, program out.
//
// # What a profile means
//
// Docker's format leaves open what rules about the same system call mean
// together. Here, for one call, the first of these that applies decides:
//
//  1. a refusal with conditions that all hold,
//  2. an allowing rule whose conditions (if any) all hold,
//  3. a refusal without conditions,
//  4. the default action.
//
// So the order in the file has no meaning, a specific refusal beats an
// allowance, and "allow these arguments, refuse the rest with this errno" can
// be said. Before all of them, a call by a foreign ABI (int80, x32) kills the
// process.
//
// # Limitations
//
// A filter sees the six argument registers and no memory behind them
// (seccomp(2)). Flags, masks, listeners, tracers and log-only profiles of
// other runtimes are refused, not ignored.
package seccomp

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Profile is a parsed and checked profile, with the rules that concern a
// sandbox without capabilities on this architecture.
type Profile struct {
	Name    string
	Default Action
	Rules   []Rule
}

// Rule gives an action for calls of some system calls.
type Rule struct {
	Line     int // in the file, from 1
	Comment  string
	Syscalls []Syscall
	Action   Action
	// Conditions must all hold; empty means every call.
	Conditions []Condition
}

// Syscall is a system call of the native ABI.
type Syscall struct {
	Name   string
	Number int
}

// Condition compares one argument, as the 64 bits of its register.
type Condition struct {
	Index    uint // of the argument, 0 to 5
	Operator Operator
	Value    uint64 // for MaskedEqual, the mask
	ValueTwo uint64 // for MaskedEqual, what the masked argument must be
}

// Operator is how a Condition compares: argument on the left.
type Operator string

// The operators, spelled as in Docker's format.
const (
	NotEqual       Operator = "SCMP_CMP_NE"
	Less           Operator = "SCMP_CMP_LT"
	LessOrEqual    Operator = "SCMP_CMP_LE"
	Equal          Operator = "SCMP_CMP_EQ"
	GreaterOrEqual Operator = "SCMP_CMP_GE"
	Greater        Operator = "SCMP_CMP_GT"
	MaskedEqual    Operator = "SCMP_CMP_MASKED_EQ"
)

// Action is a SECCOMP_RET_* value with its data, as in seccomp(2).
type Action uint32

// The actions a program can end with.
const (
	KillProcess Action = unix.SECCOMP_RET_KILL_PROCESS
	KillThread  Action = unix.SECCOMP_RET_KILL_THREAD
	Trap        Action = unix.SECCOMP_RET_TRAP
	Log         Action = unix.SECCOMP_RET_LOG
	Allow       Action = unix.SECCOMP_RET_ALLOW
)

// Errno is the action that makes a call fail with errno.
func Errno(errno syscall.Errno) Action {
	return unix.SECCOMP_RET_ERRNO | Action(errno)&unix.SECCOMP_RET_DATA
}

// Errno returns what a refused call fails with; ok is false for every action
// that is not an errno.
func (a Action) Errno() (errno syscall.Errno, ok bool) {
	return syscall.Errno(a & unix.SECCOMP_RET_DATA), a&unix.SECCOMP_RET_ACTION_FULL == unix.SECCOMP_RET_ERRNO
}

// Allows reports whether the call is made.
func (a Action) Allows() bool { return a == Allow || a == Log }

// String names the action the way seccomp(2) does.
func (a Action) String() string {
	if errno, ok := a.Errno(); ok {
		if name := unix.ErrnoName(errno); name != "" {
			return "errno " + name
		}
		return fmt.Sprintf("errno %d", errno)
	}
	switch a {
	case KillProcess:
		return "kill process"
	case KillThread:
		return "kill thread"
	case Trap:
		return "trap"
	case Log:
		return "log"
	case Allow:
		return "allow"
	}
	return fmt.Sprintf("action %#x", uint32(a))
}

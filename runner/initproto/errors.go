package initproto

import (
	"errors"
	"syscall"
)

// Violation is a frame, or a use of one end, that the protocol does not
// allow. The session it happened in is over.
type Violation string

// Error implements error.
func (v Violation) Error() string { return string(v) }

// The violations.
const (
	ErrOversize    Violation = "refuse frame: body longer than its type allows"
	ErrUnexpected  Violation = "refuse frame: type out of order or unknown"
	ErrMalformed   Violation = "refuse frame: malformed body"
	ErrDescriptors Violation = "refuse frame: descriptors other than its type calls for"
	ErrTruncated   Violation = "refuse frame: end of file inside it"
	ErrVersion     Violation = "refuse peer: another version of the protocol"
	ErrListener    Violation = "refuse descriptor: not the listener that was asked for"
	ErrOrder       Violation = "refuse call: out of order"
)

// ErrGone says that the other end closed the socket between two frames: the
// sandbox ended without saying how, or the supervisor went away.
var ErrGone = errors.New("receive frame: the other end is gone")

// ErrJob says that a job cannot be encoded: nothing was sent.
var ErrJob = errors.New("encode job: not a valid job")

// opError wraps an error as `verb noun: cause`; fmt would do it too, but
// links os into the init.
type opError struct {
	op  string
	err error
}

func (e *opError) Error() string { return e.op + ": " + e.err.Error() }
func (e *opError) Unwrap() error { return e.err }

func wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return &opError{op, err}
}

// StartError is the init's own word that the command was not started.
type StartError struct {
	Step  Step
	Errno syscall.Errno
}

// Error implements error.
func (e *StartError) Error() string { return e.Step.String() + ": " + e.Errno.Error() }

// Unwrap gives the errno, for errors.Is.
func (e *StartError) Unwrap() error { return e.Errno }

// ExitCode is what a shell would exit with: 127 when the command was not
// found, 126 when it cannot be executed, 125 when the sandbox failed.
// Rules: POSIX.1-2017, Shell Command Language, 2.8.2; docker-run(1) for 125.
func (e *StartError) ExitCode() int {
	if e.Step != StepExec {
		return 125
	}
	switch e.Errno {
	case syscall.ENOENT, syscall.ENOTDIR:
		return 127
	case syscall.EACCES, syscall.ENOEXEC, syscall.EPERM:
		return 126
	}
	return 125
}

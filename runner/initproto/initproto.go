// Package initproto is what creeld and creel-init say to each other: frames
// over one SOCK_STREAM unix socket, their binary encoding, and a state machine
// for each end. It imports only the standard library, and of that neither os,
// net, fmt nor encoding/json, which would cost every idle init memory. It never
// opens, reads or executes anything by name; it only moves bytes and
// descriptors.
//
// The two ends do not trust each other. The init runs as the sandbox's own
// user, so a command that broke it could send anything: every frame has a
// bounded size, a type that the state allows, and exactly the descriptors that
// the type calls for. Anything else ends the session, and only that session.
//
//	creeld (Supervisor)                         creel-init (Init)
//	  ◄── Hello{version} ──────────────────────
//	  ─── Setup{listen addresses} ────────────►
//	  ◄── Listeners + one for each address ────   or Failed
//	  ◄── Ready ───────────────────────────────   or Failed
//	  … the posture is compared here …
//	  ─── Job{argv, env, …} + 3 pipes ────────►   once, ever
//	  ◄── Started ─────────────────────────────   or Failed
//	  ─── Signal, Resize ─────────────────────►   any number
//	  ◄── Exit{code, signal, rusage} ──────────   the last frame
//
// With a Job that lingers the socket stays open after that, without a frame in
// either direction, for as long as the sandbox.
//
// A frame is a header of five bytes, then its body:
//
//	0      1      2      3      4      5
//	┌──────┬──────────────────────────┬───────────────┐
//	│ type │ length of body, 32 bit   │ body          │   all integers are
//	└──────┴──────────────────────────┴───────────────┘   big-endian
//
// Descriptors ride as SCM_RIGHTS (unix(7)) on the header and nowhere else.
package initproto

// Version is the one version of the protocol this package speaks. Both ends
// are installed together, so there is nothing to negotiate: a mismatch ends
// the session.
const Version = 3

// The bounds on what the other end can make this one hold.
const (
	// MaxJob bounds the body of a Job in bytes: above what execve(2) takes
	// for argv and environment with the usual stack limit (2 MiB).
	MaxJob = 4 << 20
	// MaxBody bounds the body of every other frame in bytes.
	MaxBody = 4096 - headerSize
	// MaxStrings bounds argv and environment, each: with 8 bytes of pointer
	// and at least one of text, execve's 2 MiB hold fewer.
	MaxStrings = 1 << 18
	// MaxCwd bounds the working directory in bytes (PATH_MAX without its NUL).
	MaxCwd = 4095
	// MaxListen bounds the addresses of a Setup.
	MaxListen = 16
	// MaxFilter bounds a seccomp filter in instructions (BPF_MAXINSNS).
	MaxFilter = 4096
	// FilterInstruction is the size of one struct sock_filter in bytes.
	FilterInstruction = 8

	headerSize = 5
	// jobFDs is what comes with a Job: stdin, stdout, stderr.
	jobFDs = 3
)

// Type says what a frame is.
type Type uint8

// The frames, in the order of the drawing above.
const (
	TypeHello Type = iota + 1
	TypeSetup
	TypeListeners
	TypeReady
	TypeJob
	TypeStarted
	TypeFailed
	TypeSignal
	TypeResize
	TypeExit
)

// maxBody is the most bytes a body of this type may have.
func (t Type) maxBody() int {
	if t == TypeJob {
		return MaxJob
	}
	return MaxBody
}

// Step names what the init was doing when it failed.
type Step uint8

// The steps of an init, in their order.
const (
	StepPrepare  Step = iota + 1 // own descriptors, signals, dumpability
	StepListen                   // a listener of the Setup
	StepChild                    // starting the process that becomes the command, or its loss
	StepTerminal                 // making the pty or taking it as controlling terminal
	StepStdio                    // placing descriptors 0, 1 and 2
	StepChdir                    // entering the working directory
	StepFilter                   // seccomp(2)
	StepExec                     // execve(2)
	stepEnd
)

var stepNames = [stepEnd]string{
	StepPrepare:  "prepare init",
	StepListen:   "open listener",
	StepChild:    "start child",
	StepTerminal: "make terminal",
	StepStdio:    "place stdio",
	StepChdir:    "enter working directory",
	StepFilter:   "install seccomp filter",
	StepExec:     "execute command",
}

// String names the step as a verb and a noun.
func (s Step) String() string {
	if s < StepPrepare || s >= stepEnd {
		return "unknown step"
	}
	return stepNames[s]
}

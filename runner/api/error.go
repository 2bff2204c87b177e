package api

import "fmt"

// Error is a refusal or failure that a person can act on.
type Error struct {
	Code     string   `json:"code"` // stable word, such as the Code constants
	Message  string   `json:"message"`
	Hint     string   `json:"hint,omitempty"`
	ExitCode int      `json:"exitCode"` // 125, or 126 and 127 for the command's own
	Details  []string `json:"details,omitempty"`
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

// BadRequest is an error in what a caller asked for.
func BadRequest(hint, format string, args ...any) *Error {
	return &Error{Code: CodeBadRequest, Message: fmt.Sprintf(format, args...), Hint: hint, ExitCode: ExitFailed}
}

// The codes that the wire itself uses; a backend adds its own, such as
// unknown-policy or launch-failed.
const (
	CodeBadRequest  = "bad-request"
	CodeBusy        = "busy"
	CodeClosing     = "closing"
	CodeDenied      = "denied"
	CodeInternal    = "internal"
	CodeLost        = "lost"
	CodeUnavailable = "unavailable"
	CodeUnsupported = "unsupported"
)

// The exit codes that are creel's and not the command's, as in env(1) and
// timeout(1).
const (
	ExitTimeout       = 124
	ExitFailed        = 125
	ExitNotExecutable = 126
	ExitNotFound      = 127
	ExitSignal        = 128 // plus the signal's number
)

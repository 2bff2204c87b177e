package api

import "time"

// ExecRequest asks for one invocation. Exactly three descriptors come with
// it: the read end of a pipe for stdin, the write ends for stdout and stderr
// (with TTY, stderr is present but unused). Stdout and stderr may be the same
// pipe, which keeps the order of what is written to both.
type ExecRequest struct {
	Policy  string        `json:"policy"`
	Argv    [][]byte      `json:"argv"` // bytes: arguments need not be UTF-8
	Cwd     string        `json:"cwd,omitempty"`
	Env     [][]byte      `json:"env,omitempty"` // K=V
	TTY     bool          `json:"tty,omitempty"`
	Rows    uint16        `json:"rows,omitempty"`
	Cols    uint16        `json:"cols,omitempty"`
	Timeout time.Duration `json:"timeoutNs,omitempty"` // the policy's own still holds
	Session string        `json:"session,omitempty"`
	// Who asked the caller for it, where, and in which call: the caller's own
	// word, such as telegram:123.
	Sender  string `json:"sender,omitempty"`
	Channel string `json:"channel,omitempty"`
	Call    string `json:"call,omitempty"`
}

// Control is what a client sends while its invocation runs; one field is set.
type Control struct {
	Signal int     `json:"signal,omitempty"`
	Resize *Resize `json:"resize,omitempty"`
}

// MaxSignal is the greatest number of a signal: SIGRTMAX (signal(7)).
const MaxSignal = 64

// Resize is a new terminal size in characters.
type Resize struct {
	Rows uint16 `json:"rows"`
	Cols uint16 `json:"cols"`
}

// Result is how an invocation ended.
type Result struct {
	ID       string `json:"id"`
	Policy   string `json:"policy"`
	ExitCode int    `json:"exitCode"` // what creel exits with
	Signal   int    `json:"signal,omitempty"`
	// Reason is one of the constants below.
	Reason    string        `json:"reason"`
	StartedAt time.Time     `json:"startedAt"`
	Wall      time.Duration `json:"wallNs"`
	Launch    time.Duration `json:"launchNs"` // request read to job sent
	UserCPU   time.Duration `json:"userCpuNs"`
	SystemCPU time.Duration `json:"systemCpuNs"`
	MaxRSS    int64         `json:"maxRssBytes"`
}

// The reasons an invocation ends with.
const (
	ReasonExited        = "exited"
	ReasonSignaled      = "signaled"
	ReasonTimeout       = "timeout"
	ReasonOutputLimit   = "output-limit"
	ReasonExpired       = "credential-expired" // its credential ended before it did
	ReasonKilled        = "killed"
	ReasonCallerGone    = "caller-gone"
	ReasonTokenEnded    = "token-ended"   // the caller's token was revoked or replaced, or has expired
	ReasonSessionEnded  = "session-ended" // with its session: by its age, its policy's change or its token's end
	ReasonOOM           = "oom"
	ReasonLost          = "lost" // ended from outside: by neither the command nor creel
	ReasonNotFound      = "not-found"
	ReasonNotExecutable = "not-executable"
	ReasonFailed        = "failed"
	ReasonStopped       = "supervisor-stopped"
	ReasonUnhealthy     = "unhealthy" // an agent that did not answer any more, or yet
	ReasonOrdered       = "ordered"   // an agent that was to stop, for whatever reason
)

// Outcome is what `creel exec --result` writes: the result, and the error
// when creel itself failed (ExitCode is then the error's and Reason failed).
type Outcome struct {
	Result
	Error *Error `json:"error,omitempty"`
}

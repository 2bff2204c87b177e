// Package api holds the wire types between creel and creeld, the socket
// paths and the version. It imports only the standard library, holds no
// logic beyond framing, and never decides who may do what.
//
// Every connection carries one request and its replies. A message is a
// 4-byte big-endian length and that many bytes of JSON; descriptors ride as
// SCM_RIGHTS (unix(7)) on the first byte of the message they belong to.
//
//	client                                   supervisor
//	  ── Request{route, body} (+ 3 pipes) ────►
//	  ◄── Event{started} … ──────────────────
//	  ── Control{signal | resize} ───────────►   any number, exec only
//	  ◄── Event{exited} or Event{error} ─────    the last message
package api

import "time"

// The names of the sockets inside the runtime directory.
const (
	ExecSocketName  = "exec.sock"
	AdminSocketName = "admin.sock"
	DefaultDir      = "/run/creel"
)

// MaxMessage bounds one message in bytes: an argv and environment as large
// as execve(2) takes (ARG_MAX, 2 MiB with the usual stack) in base64.
const MaxMessage = 4 << 20

// Version is set by the linker.
var Version = "dev"

// The routes. Exec, Version and the policies a caller may run are served on
// the exec socket; all of them on the admin socket.
const (
	RouteExec    = "exec"
	RoutePs      = "ps"
	RouteKill    = "kill"
	RouteInspect = "inspect"
	RouteLogs    = "logs"
	RouteStats   = "stats"
	RouteDoctor  = "doctor"
	RouteVersion = "version"
	RoutePolicy  = "policy"
)

// ExecRequest asks for one invocation. Exactly three descriptors come with
// it: the read end of a pipe for stdin, the write ends for stdout and stderr
// (with TTY, stderr is present but unused).
type ExecRequest struct {
	Policy  string        `json:"policy"`
	Argv    [][]byte      `json:"argv"` // bytes: arguments need not be UTF-8
	Cwd     string        `json:"cwd,omitempty"`
	Env     [][]byte      `json:"env,omitempty"` // K=V
	TTY     bool          `json:"tty,omitempty"`
	Rows    uint16        `json:"rows,omitempty"`
	Cols    uint16        `json:"cols,omitempty"`
	Timeout time.Duration `json:"timeout,omitempty"` // nanoseconds; the policy's own still holds
	Session string        `json:"session,omitempty"`
}

// Control is what a client sends while its invocation runs; one field is set.
type Control struct {
	Signal int     `json:"signal,omitempty"`
	Resize *Resize `json:"resize,omitempty"`
}

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
	// Reason is exited, signaled, timeout, output-limit, killed, caller-gone,
	// oom, not-found, not-executable or failed.
	Reason    string        `json:"reason"`
	StartedAt time.Time     `json:"startedAt"`
	Wall      time.Duration `json:"wallNs"`
	Launch    time.Duration `json:"launchNs"` // request read to job sent
	UserCPU   time.Duration `json:"userCpuNs"`
	SystemCPU time.Duration `json:"systemCpuNs"`
	MaxRSS    int64         `json:"maxRssBytes"`
}

// Error is a refusal or failure that a person can act on.
type Error struct {
	Code     string   `json:"code"` // stable word: denied, unknown-policy, bad-request, launch-failed, busy…
	Message  string   `json:"message"`
	Hint     string   `json:"hint,omitempty"`
	ExitCode int      `json:"exitCode"` // 125, or 126 and 127 for the command's own
	Details  []string `json:"details,omitempty"`
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

// Sandbox is one row of ps and the head of inspect.
type Sandbox struct {
	ID        string    `json:"id"`
	Policy    string    `json:"policy"`
	State     string    `json:"state"` // creating, warm, running, ending, orphan, ended
	Command   string    `json:"command,omitempty"`
	Caller    string    `json:"caller,omitempty"` // user name or uid
	Session   string    `json:"session,omitempty"`
	Engine    string    `json:"engine"`
	Pid       int       `json:"pid,omitempty"` // of the init, on the host
	Created   time.Time `json:"created"`
	Processes int       `json:"processes"`
	Weaker    []string  `json:"weaker,omitempty"` // weaker modes the policy named
	Result    *Result   `json:"result,omitempty"`
}

// PsReply lists sandboxes; Notices says what an operator must know (such as
// a configuration that could not be loaded).
type PsReply struct {
	Sandboxes []Sandbox `json:"sandboxes"`
	Notices   []string  `json:"notices,omitempty"`
}

// KillRequest names sandboxes by ID or unique prefix.
type KillRequest struct {
	IDs    []string `json:"ids,omitempty"`
	All    bool     `json:"all,omitempty"`
	Signal int      `json:"signal"` // SIGKILL ends the whole sandbox
}

// KillReply lists the IDs a signal was delivered to.
type KillReply struct {
	IDs []string `json:"ids"`
}

// PsRequest asks for live sandboxes, or with All for ended ones too.
type PsRequest struct {
	All bool `json:"all,omitempty"`
}

// IDRequest names one sandbox by ID or unique prefix.
type IDRequest struct {
	ID string `json:"id"`
}

// InspectReply is everything known of one sandbox; Posture is read from the
// kernel when it is asked for.
type InspectReply struct {
	Sandbox Sandbox  `json:"sandbox"`
	Posture any      `json:"posture,omitempty"`
	Cgroup  string   `json:"cgroup,omitempty"`
	Steps   []string `json:"steps,omitempty"` // launch steps with their durations
}

// LogsRequest asks for the kept output of one sandbox.
type LogsRequest struct {
	ID     string `json:"id"`
	Follow bool   `json:"follow,omitempty"`
}

// LogChunk is a piece of kept output.
type LogChunk struct {
	Stream string `json:"stream"` // stdout or stderr
	Data   []byte `json:"data"`
}

// StatsRequest names sandboxes; empty means all.
type StatsRequest struct {
	IDs []string `json:"ids,omitempty"`
}

// Stats is what one sandbox uses now, read from its cgroup.
type Stats struct {
	ID          string        `json:"id"`
	Policy      string        `json:"policy"`
	Memory      int64         `json:"memoryBytes"`
	MemoryLimit int64         `json:"memoryLimitBytes"`
	CPU         time.Duration `json:"cpuNs"`
	Pids        int64         `json:"pids"`
	PidsLimit   int64         `json:"pidsLimit"`
	OOMKills    int64         `json:"oomKills"`
}

// StatsReply lists the use of live sandboxes.
type StatsReply struct {
	Stats []Stats `json:"stats"`
}

// Finding is one line of the doctor.
type Finding struct {
	Name   string `json:"name"`
	Level  string `json:"level"` // ok, warning, error
	Detail string `json:"detail"`
	Hint   string `json:"hint,omitempty"`
}

// DoctorReply lists what was checked, worst last.
type DoctorReply struct {
	Findings []Finding `json:"findings"`
}

// VersionReply names the supervisor's build.
type VersionReply struct {
	Version string `json:"version"`
	Engine  string `json:"engine"`
	Runtime string `json:"runtime"`
}

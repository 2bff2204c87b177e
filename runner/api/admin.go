package api

import "time"

// Sandbox is one row of ps and the head of inspect.
type Sandbox struct {
	ID        string    `json:"id"`
	Policy    string    `json:"policy"`
	State     string    `json:"state"` // creating, warm, running, background, ending, orphan, ended; of an agent as there
	Command   string    `json:"command,omitempty"`
	Caller    string    `json:"caller,omitempty"` // user name or uid, or token:NAME
	Session   string    `json:"session,omitempty"`
	Sender    string    `json:"sender,omitempty"` // the caller's word, like Channel and Call
	Channel   string    `json:"channel,omitempty"`
	Call      string    `json:"call,omitempty"`
	Engine    string    `json:"engine"`
	Pid       int       `json:"pid,omitempty"` // of the init, on the host
	Created   time.Time `json:"created"`
	Processes int       `json:"processes"`
	Weaker    []string  `json:"weaker,omitempty"` // weaker modes the policy named
	Leases    []Lease   `json:"leases,omitempty"`
	Canary    bool      `json:"canary,omitempty"` // it has a canary in place of each credential
	Result    *Result   `json:"result,omitempty"`
}

// Lease is the right of one credential to exist.
type Lease struct {
	Sandbox  string    `json:"sandbox,omitempty"`
	Policy   string    `json:"policy,omitempty"`
	Variable string    `json:"variable,omitempty"`
	Provider string    `json:"provider"`
	State    string    `json:"state"` // live, revoking, revoked, expired
	Expires  time.Time `json:"expires,omitzero"`
	Problem  string    `json:"problem,omitempty"` // why the last try to revoke it failed
}

// RevokeRequest names leases by their sandboxes, by a policy, or all of them.
type RevokeRequest struct {
	IDs    []string `json:"ids,omitempty"`
	Policy string   `json:"policy,omitempty"`
	All    bool     `json:"all,omitempty"`
}

// RevokeReply lists the leases that were meant; one that could not be revoked
// yet is in the state revoking.
type RevokeReply struct {
	Leases []Lease `json:"leases"`
}

// PsReply lists sandboxes; Notices says what an operator must know (such as
// a configuration that could not be loaded).
type PsReply struct {
	Sandboxes []Sandbox `json:"sandboxes"`
	Agents    []Agent   `json:"agents,omitempty"`
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

// ReloadReply says that what was read is in force.
type ReloadReply struct{}

// VersionReply names the supervisor's build.
type VersionReply struct {
	Version string `json:"version"`
	Engine  string `json:"engine"`
	Runtime string `json:"runtime"`
}

// PolicyReply lists the policies that the caller may run.
type PolicyReply struct {
	Policies []string `json:"policies"`
}

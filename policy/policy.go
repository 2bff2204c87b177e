// Package policy turns the bytes of a declared YAML file into a value, or
// into positioned problems that say what is wrong, where, and how to mend it.
//
// It is pure: bytes or an fs.FS in, values or problems out. It imports
// nothing of this module and never touches the operating system, the clock,
// the environment or a log, so the same input gives the same answer on every
// machine. What only a machine can tell (does the user exist, is the source a
// symlink) is checked where the policy is used.
//
// Read fields.go first: one table says of every key its type, range, default
// and meaning, and Parse, Show, Explain and Schema only walk that table. What
// no single key can tell is in rules.go, what is valid but should be looked
// at in review.go, which host paths and variables are refused, and why, in
// paths.go and environment.go.
package policy

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"
)

// APIVersion is the only value of apiVersion this package accepts.
const APIVersion = "creel/v1"

// Kind says what a declared file describes.
type Kind string

// The kinds of sandbox a file can declare.
const (
	// KindPolicy is a sandbox for one invocation.
	KindPolicy Kind = "Policy"
	// KindAgent is a long-running sandbox that the supervisor keeps up.
	KindAgent Kind = "Agent"
)

// Policy is one declared, validated sandbox, with every default filled in.
// The zero value of an optional field means the feature is off: an empty
// list allows nothing.
type Policy struct {
	Kind          Kind
	Name          string
	Justification string
	Owner         string
	// ReviewBy is the day (UTC, midnight) past which the policy is overdue.
	ReviewBy time.Time
	Root     Root
	// Engine is empty where creel.yaml chooses.
	Engine      Engine
	User        string
	Workdir     string
	Mounts      []Mount
	Tmp         Tmp
	Env         []EnvVar // sorted by Name
	Credentials []Credential
	// Network is nil when the sandbox has no network at all.
	Network *Network
	// Seccomp names a profile of package profiles, or is the absolute path of
	// a file in Docker's JSON format.
	Seccomp string
	// UserNamespace off is a weaker mode: it is shown by ps and in receipts.
	UserNamespace UserNamespace
	Limits        Limits
	Logs          Logs
	Pool          Pool
	Scope         Scope
	Session       Session // of no effect without ScopeSession
	// Hygiene is nil when nothing is searched for credentials.
	Hygiene *Hygiene
	Callers Callers // none of an Agent: nobody runs commands in it
	Agent   Agent   // what only an Agent has
}

// Root is where the read-only root file system comes from; exactly one field
// is set.
type Root struct {
	Host  bool
	Image string // name@sha256:… or name:tag
	Dir   string // absolute path of an unpacked root file system
}

// Engine says what makes the containers of a policy.
type Engine string

// The engines a policy or creel.yaml can choose.
const (
	// EngineOCI is an OCI runtime, runc or crun, started for each sandbox.
	EngineOCI Engine = "oci"
	// EngineDocker is a Docker daemon (Docker Engine API).
	EngineDocker Engine = "docker"
)

// MountKind says what a mount is for.
type MountKind string

// The kinds of mount a policy can declare.
const (
	MountWorkspace MountKind = "workspace"
	MountLogs      MountKind = "logs"
	MountData      MountKind = "data"
	// MountState and MountConfig are what an Agent keeps, and a file that it
	// only reads.
	MountState  MountKind = "state"
	MountConfig MountKind = "config"
	// MountExec is the one way to the supervisor out of a sandbox: a socket of
	// the agent's own, on which it can run commands as any caller can.
	MountExec MountKind = "exec"
)

// Mount is one host directory (or regular file) that the sandbox sees.
type Mount struct {
	Kind MountKind
	// Source is absolute, lexically clean, and no symlink when it is used. Of a
	// mount of kind exec it is empty until Set.PlaceExecSockets.
	Source   string
	Target   string // absolute, lexically clean, inside the sandbox
	Writable bool   // mode: rw
}

// Tmp bounds the private /tmp.
type Tmp struct {
	Size   int64 // bytes
	Inodes int64
}

// EnvVar is one fixed variable that is not secret.
type EnvVar struct{ Name, Value string }

// Credential is a secret value delivered as one environment variable.
type Credential struct {
	Env string
	// Provider and Reference are the two sides of the first colon of "from":
	// systemd:NAME, exec:HELPER ARG…, vault:PATH#FIELD, store:NAME.
	Provider  string
	Reference string
	TTL       time.Duration // zero: as long as the invocation
	OnExpiry  OnExpiry      // "" for a value that does not end
	// Prefetch has the value made before there is a command for it, for the
	// sandboxes that wait in the pool.
	Prefetch bool
}

// Fresh is how long after it was made a value that lives for so long may be
// given to a command: a quarter of its life, so that three are left.
func Fresh(life time.Duration) time.Duration { return life / 4 }

// OnExpiry says what becomes of a command that still runs when its credential
// has ended.
type OnExpiry string

// What can become of it.
const (
	OnExpiryEnd  OnExpiry = "end"
	OnExpiryWarn OnExpiry = "warn"
)

// Network is what the sandbox may reach: a gateway, egress or both.
type Network struct {
	// Gateway is an IPv4 loopback address and port of the host, listened for
	// at the same address inside the sandbox; zero: none.
	Gateway netip.AddrPort
	// Egress are the services that the sandbox reaches through creel's proxy,
	// by TLS alone; none: there is no proxy.
	Egress       []Destination
	EgressReason string // why; empty only without Egress
	// Proxy is the IPv4 loopback address and port of the proxy inside the
	// sandbox.
	Proxy          netip.AddrPort
	MaxConnections int // at once, for each of gateway and proxy
}

// Destination is a service that a sandbox may reach.
type Destination struct {
	Host string // a name in lower-case ASCII, without the final dot, or an IP address as netip writes it
	Port uint16
}

func (d Destination) String() string { return net.JoinHostPort(d.Host, strconv.Itoa(int(d.Port))) }

// UserNamespace says whether the sandbox has a user namespace of its own.
type UserNamespace string

// The modes of the user namespace.
const (
	UserNamespaceRequired UserNamespace = "required"
	UserNamespaceOff      UserNamespace = "off"
)

// Limits bound what a sandbox may use. Zero means no limit where a field
// says so; every other field has a default.
type Limits struct {
	Memory   int64 // bytes, without swap
	MilliCPU int64 // thousandths of one CPU
	Pids     int64
	NoFile   int64         // RLIMIT_NOFILE, soft and hard
	FileSize int64         // RLIMIT_FSIZE in bytes; zero: no limit
	Timeout  time.Duration // zero: no time limit
	Output   int64         // bytes of stdout and stderr together; zero: no limit
}

// Logs says how much of the end of the output the supervisor keeps in its
// memory for `creel logs`.
type Logs struct {
	Keep int64 // bytes; zero keeps nothing
}

// Pool says how many sandboxes wait ready for this policy.
type Pool struct{ Warm int }

// Hygiene says what is searched for credentials before a command starts: the
// workspaces with the Git history in them, and further files.
type Hygiene struct {
	Secrets HygieneMode
	Files   []string // absolute, lexically clean
	// MaxAge is how long before the command's start the last search may have
	// begun; zero: there is one for each command.
	MaxAge time.Duration
	Allow  []Allowed
}

// HygieneMode says what comes of a credential that was found.
type HygieneMode string

// What comes of a credential that was found.
const (
	HygieneRefuse HygieneMode = "refuse"
	HygieneWarn   HygieneMode = "warn"
)

// Allowed is something that was found, and that is no credential in use.
type Allowed struct {
	Fingerprint string
	Reason      string
	// Until is the last day (UTC, midnight) that it is allowed.
	Until time.Time
}

// Allows says whether a policy allows what has a fingerprint.
func (h *Hygiene) Allows(fingerprint string, now time.Time) bool {
	return slices.ContainsFunc(h.Allow, func(a Allowed) bool { return a.Fingerprint == fingerprint && !a.over(now) })
}

func (a Allowed) over(now time.Time) bool { return !now.Before(a.Until.AddDate(0, 0, 1)) }

// Callers says who may run the policy.
type Callers struct {
	Users []string // user names or decimal uids
	// Tokens are the names of API tokens, for callers who come to the socket
	// for those; users mean nothing there.
	Tokens []string
	// Senders and Channels are for whom and from where a user may run it, as
	// PLATFORM:ID; none: that is not asked.
	Senders, Channels []string
}

// Config is creel.yaml: the supervisor's own configuration.
type Config struct {
	RuntimeDir string // sockets and state; default /run/creel
	PolicyDir  string // default /etc/creel/policies
	AuditDir   string // default /var/log/creel
	ImageDir   string // unpacked images; default /var/lib/creel/images
	Engine     Engine // of policies that name none; default oci
	Runtime    string // crun, runc or "" for the first that is installed
	// DockerSocket is where the docker engine finds its daemon.
	DockerSocket string // default /run/docker.sock
	InitPath     string // the creel-init binary; default /usr/lib/creel/creel-init
	Strict       bool
	Admins       []string // user names or decimal uids besides root
	Group        string   // group that may connect to exec.sock; default creel
	StateDir     string   // what must outlive creeld; default /var/lib/creel
	// TokenSocket says who may connect to token.sock; nil: there is none.
	TokenSocket *TokenSocket
	Vault       *Vault // nil: there is none
	Secrets     Secrets
}

// Severity says whether a problem refuses the file.
type Severity string

// The severities of a Problem.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
)

// Problem is one thing wrong with a declared file.
type Problem struct {
	File     string
	Line     int    // from 1; zero when the whole file is meant
	Column   int    // from 1
	Key      string // dotted path, such as mounts[1].source
	Message  string
	Hint     string
	Severity Severity
}

// Setting is one effective value of a policy and where it came from.
type Setting struct {
	Key    string
	Value  string
	Origin string // "FILE:LINE" or "default"
}

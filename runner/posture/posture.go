// Package posture reads what the kernel says is really in force on a live
// sandbox and compares it, exhaustively, with what its policy promises.
//
// The prediction is made from the policy, not from the OCI configuration, so
// a mistake in the configuration, in the runtime or in the kernel's support
// shows as a difference. It imports policy, cgroup, rootfs and spec (for the
// constants both sides must agree on); it reads /proc and cgroupfs, and never
// changes anything.
package posture

import "github.com/creel-sandbox/creel/runner/cgroup"

// Posture is what the kernel says of one sandbox.
type Posture struct {
	// Processes are those in the sandbox's control group, init first.
	Processes  []Process         `json:"processes"`
	Namespaces map[string]string `json:"namespaces"` // of init: type to identity
	// SharedNamespaces are those of Namespaces that are the supervisor's own.
	SharedNamespaces []string          `json:"sharedNamespaces,omitempty"`
	UIDMap           string            `json:"uidMap"`
	GIDMap           string            `json:"gidMap"`
	Mounts           []Mount           `json:"mounts"`
	Cgroups          map[string]string `json:"cgroups"` // hierarchy to group
	Limits           cgroup.Limits     `json:"limits"`
}

// Process is one process and the union of what its threads have.
type Process struct {
	Pid          int      `json:"pid"`          // on the host
	NSPid        int      `json:"nsPid"`        // in the sandbox
	UIDs         []string `json:"uids"`         // real, effective, saved, file system
	GIDs         []string `json:"gids"`         // likewise
	Groups       []string `json:"groups"`       // supplementary
	Capabilities []string `json:"capabilities"` // sets that are not empty: CapInh=…
	NoNewPrivs   bool     `json:"noNewPrivs"`   // on every thread
	// Seccomp is the mode of the thread that has the weakest, 2 being a filter;
	// Filters is the smallest count of filters on a thread (proc(5)).
	Seccomp  int    `json:"seccomp"`
	Filters  int    `json:"seccompFilters"`
	Dumpable bool   `json:"dumpable"`
	FDs      []FD   `json:"fds"`
	Core     string `json:"coreLimit"`   // soft and hard, as in /proc/PID/limits
	NoFile   string `json:"nofileLimit"` // soft and hard
}

// FD is one open descriptor and what /proc says it refers to.
type FD struct {
	Number int    `json:"fd"`
	Target string `json:"target"`
}

// Mount is one mount of the sandbox's mount namespace.
type Mount struct {
	Target string   `json:"target"`
	FSType string   `json:"fsType"`
	Root   string   `json:"root"` // within its file system
	Source string   `json:"source"`
	Flags  []string `json:"flags"` // ro or rw, nosuid, nodev, noexec …
	// Dev, Ino and Rdev identify what is seen at the target.
	Dev  uint64 `json:"dev"`
	Ino  uint64 `json:"ino"`
	Rdev uint64 `json:"rdev,omitempty"`
	// Hidden is true when another mount lies over this one.
	Hidden bool `json:"hidden,omitempty"`
}

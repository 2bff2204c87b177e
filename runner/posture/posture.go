// Package posture reads what the kernel says is really in force on a live
// sandbox and compares it, exhaustively, with what its policy promises.
//
// The prediction is made from the policy, not from the OCI configuration, so
// a mistake in the configuration, in the runtime or in the kernel's support
// shows as a difference. It imports policy, cgroup, kernelfile, rootfs and spec
// (for the constants both sides must agree on); it reads /proc and cgroupfs,
// and never changes anything.
package posture

import "github.com/creel-sandbox/creel/runner/cgroup"

// Posture is what the kernel says of one sandbox.
type Posture struct {
	// Processes are those in the sandbox's control group, init first.
	Processes  []Process         `json:"processes"`
	Namespaces map[string]string `json:"namespaces"` // of init: type to identity
	// SharedNamespaces are those of Namespaces that are the supervisor's own.
	SharedNamespaces []string `json:"sharedNamespaces,omitempty"`
	// ForeignNamespaces are those of Namespaces that belong to another user
	// namespace than the sandbox's (ioctl_ns(2)), so were not made with it.
	ForeignNamespaces []string `json:"foreignNamespaces,omitempty"`
	UIDMap            string   `json:"uidMap"`
	GIDMap            string   `json:"gidMap"`
	// Routes are those of the network namespace that leave the loopback device.
	Routes []string `json:"routes,omitempty"`
	Mounts []Mount  `json:"mounts"`
	// ProcOf is the PID namespace that the sandbox's /proc shows.
	ProcOf  string            `json:"procOf"`
	Cgroups map[string]string `json:"cgroups"` // hierarchy to group
	Limits  cgroup.Limits     `json:"limits"`
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
	Seccomp  int  `json:"seccomp"`
	Filters  int  `json:"seccompFilters"`
	Dumpable bool `json:"dumpable"`
	// Exe identifies the program. Elsewhere are the namespaces that are not
	// init's. AtRoot says that the working directory is the sandbox's root.
	Exe         File     `json:"exe"`
	Elsewhere   []string `json:"elsewhere,omitempty"`
	AtRoot      bool     `json:"atRoot"`
	FDs         []FD     `json:"fds"`
	OOMScoreAdj int      `json:"oomScoreAdj"`
	// Limits are the soft and hard resource limits, by their names in
	// /proc/PID/limits.
	Limits map[string]string `json:"limits"`
}

// File is the identity of one file.
type File struct {
	Dev uint64 `json:"dev"`
	Ino uint64 `json:"ino"`
}

// FD is one open descriptor and what /proc says it refers to.
type FD struct {
	Number int    `json:"fd"`
	Target string `json:"target"`
	Rdev   uint64 `json:"rdev,omitempty"` // of a device
}

// Mount is one mount of the sandbox's mount namespace.
type Mount struct {
	Target string   `json:"target"`
	FSType string   `json:"fsType"`
	Root   string   `json:"root"` // within its file system
	Source string   `json:"source"`
	Flags  []string `json:"flags"` // ro or rw, nosuid, nodev, noexec …
	// Propagation is empty where no mount event comes in or goes out
	// (mount_namespaces(7)).
	Propagation string `json:"propagation,omitempty"`
	// Dev, Ino and Rdev identify what is seen at the target.
	Dev  uint64 `json:"dev"`
	Ino  uint64 `json:"ino"`
	Rdev uint64 `json:"rdev,omitempty"`
	// Owner is the host uid of a device; whoever owns it may close it to all.
	Owner uint64 `json:"owner,omitempty"`
	// Size in bytes and Inodes bound a tmpfs (statfs(2)).
	Size   int64 `json:"size,omitempty"`
	Inodes int64 `json:"inodes,omitempty"`
	// OnHost is true when the supervisor sees the same file system somewhere.
	OnHost bool `json:"onHost,omitempty"`
	// Hidden is true when another mount lies over this one.
	Hidden bool `json:"hidden,omitempty"`
}

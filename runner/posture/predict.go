package posture

import (
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/cgroup"
	"github.com/creel-sandbox/creel/runner/rootfs"
	"github.com/creel-sandbox/creel/runner/spec"
)

// Subject is what a prediction is made from.
type Subject struct {
	ID     string
	Policy *policy.Policy
	Who    rootfs.Identity
	Root   *rootfs.Tree
	Cgroup *cgroup.Hierarchy
}

// Prediction is what the kernel must say of a sandbox that waits for its job.
type Prediction struct {
	Shared []string // namespaces that may be the supervisor's own
	UIDMap string
	GIDMap string
	Mounts map[string]PredictedMount // by target
	Cgroup string
	Limits cgroup.Limits
	UID    string
	GID    string
	NoFile string
}

// PredictedMount is what must be found at one target.
type PredictedMount struct {
	FSTypes []string // any of them; empty: any
	With    []string // flags that must be set
	Without []string // flags that must not be
	// Dev and Ino, when Ino is not zero, identify the source that was opened.
	Dev, Ino uint64
	Rdev     uint64 // of a device
}

var (
	nullDevice = unix.Mkdev(1, 3)
	// devices are the nodes of /dev a sandbox has (OCI config-linux, "Default
	// Devices"); with a user namespace each is a bind mount of the host's.
	devices = map[string]uint64{
		"/dev/null": nullDevice, "/dev/zero": unix.Mkdev(1, 5), "/dev/full": unix.Mkdev(1, 7),
		"/dev/random": unix.Mkdev(1, 8), "/dev/urandom": unix.Mkdev(1, 9), "/dev/tty": unix.Mkdev(5, 0),
	}
)

// Predict says what the posture of a sandbox must be.
func Predict(s Subject) Prediction {
	id := func(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
	limits := s.Policy.Limits
	nofile := strconv.FormatInt(limits.NoFile, 10)
	p := Prediction{
		Mounts: map[string]PredictedMount{},
		Cgroup: s.Cgroup.Path(s.ID),
		UID:    id(s.Who.UID), GID: id(s.Who.GID),
		NoFile: nofile + " " + nofile,
		Limits: cgroup.Limits{
			Memory: limits.Memory &^ int64(os.Getpagesize()-1), Swap: 0,
			Pids: limits.Pids, CPUQuota: spec.CPUQuota(limits), CPUPeriod: spec.CPUPeriod,
		},
	}
	if s.Policy.UserNamespace == policy.UserNamespaceOff {
		p.Shared = []string{"user"}
		p.UIDMap, p.GIDMap = "0 0 4294967295", "0 0 4294967295"
	} else {
		p.UIDMap, p.GIDMap = idMap(p.UID), idMap(p.GID)
	}
	p.rootMounts(s)
	p.kernelMounts(s.Policy)
	return p
}

func idMap(id string) string {
	return normalizeMap("0 " + strconv.Itoa(spec.HostRootID) + " 1\n" + id + " " + id + " 1\n")
}

// rootMounts are those of the root tree, declared mounts among them.
func (p *Prediction) rootMounts(s Subject) {
	fsType := "tmpfs"
	if !s.Policy.Root.Host {
		fsType = "overlay"
	}
	p.Mounts["/"] = PredictedMount{FSTypes: []string{fsType}, With: []string{"ro", "nosuid", "nodev"}}
	for _, m := range s.Root.Mounts {
		flags := []string{"ro", "nosuid", "nodev"}
		if m.Writable {
			flags[0] = "rw"
		}
		p.Mounts[m.Target] = PredictedMount{With: flags, Dev: m.Dev, Ino: m.Ino}
	}
}

// kernelMounts are the sandbox's own file systems and what covers parts of
// /proc.
func (p *Prediction) kernelMounts(declared *policy.Policy) {
	p.Mounts["/proc"] = PredictedMount{FSTypes: []string{"proc"}, With: []string{"nosuid", "nodev", "noexec"}}
	p.Mounts["/dev"] = PredictedMount{FSTypes: []string{"tmpfs"}, With: []string{"nosuid", "noexec"}}
	p.Mounts["/dev/pts"] = PredictedMount{FSTypes: []string{"devpts"}, With: []string{"nosuid", "noexec"}}
	p.Mounts["/dev/shm"] = PredictedMount{FSTypes: []string{"tmpfs"}, With: []string{"nosuid", "nodev", "noexec"}}
	p.Mounts["/tmp"] = PredictedMount{FSTypes: []string{"tmpfs"}, With: []string{"nosuid", "nodev"}}
	if declared.UserNamespace != policy.UserNamespaceOff {
		for path, device := range devices {
			p.Mounts[path] = PredictedMount{Rdev: device}
		}
	}
	for _, path := range spec.MaskedPaths {
		// A path this kernel does not have needs no mask, and gets none.
		if info, err := os.Stat(path); err != nil {
			continue
		} else if info.IsDir() {
			p.Mounts[path] = PredictedMount{FSTypes: []string{"tmpfs"}, With: []string{"ro"}}
		} else {
			p.Mounts[path] = PredictedMount{Rdev: nullDevice}
		}
	}
	for _, path := range spec.ReadonlyPaths {
		if _, err := os.Stat(path); err == nil {
			p.Mounts[filepath.Clean(path)] = PredictedMount{FSTypes: []string{"proc"}, With: []string{"ro"}}
		}
	}
}

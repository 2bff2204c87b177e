package posture

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/cgroup"
	"github.com/creel-sandbox/creel/runner/kernelfile"
	"github.com/creel-sandbox/creel/runner/rootfs"
	"github.com/creel-sandbox/creel/runner/spec"
)

// Subject is what a prediction is made from.
type Subject struct {
	Engine policy.Engine
	Policy *policy.Policy
	Who    rootfs.Identity
	Root   rootfs.View
	Tmp    *rootfs.Tmp // shared with other sandboxes; nil: it has its own
	Group  cgroup.Group
}

// Prediction is what the kernel must say of a sandbox that waits for its job.
type Prediction struct {
	Shared      []string // namespaces that may be the supervisor's own
	UIDMap      string
	GIDMap      string
	Mounts      map[string]PredictedMount // by target
	Cgroup      string
	Limits      cgroup.Limits
	UID         string
	GID         string
	Groups      string // supplementary
	Exe         File   // creel-init
	Filters     int    // seccomp filters
	OOMScoreAdj int
	RLimits     map[string]string // soft and hard, by the names of /proc/PID/limits
}

// PredictedMount is what must be found at one target.
type PredictedMount struct {
	FSTypes []string // any of them; empty: any
	With    []string // flags that must be set
	// Own says that it must be a file system the host does not see, and Root,
	// when not empty, which part of it.
	Own  bool
	Root string
	// Size in bytes and Inodes, when not zero, bound a tmpfs.
	Size, Inodes int64
	// Dev and Ino, when Ino is not zero, identify the source that was opened.
	Dev, Ino uint64
	Rdev     uint64 // of a device
	// Receives says that mount events may come in, though none goes out
	// (MS_SLAVE, mount_namespaces(7)).
	Receives bool
}

var (
	nullDevice = unix.Mkdev(1, 3)
	// deviceNodes are the nodes of /dev a sandbox has (OCI config-linux, "Default
	// Devices"); with a user namespace each is a bind mount of the host's.
	deviceNodes = map[string]uint64{
		"/dev/null": nullDevice, "/dev/zero": unix.Mkdev(1, 5), "/dev/full": unix.Mkdev(1, 7),
		"/dev/random": unix.Mkdev(1, 8), "/dev/urandom": unix.Mkdev(1, 9), "/dev/tty": unix.Mkdev(5, 0),
	}
)

// Predict says what the posture of a sandbox must be.
func Predict(s Subject) (Prediction, error) {
	id := func(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
	limits := s.Policy.Limits
	p := Prediction{
		Mounts: map[string]PredictedMount{},
		Cgroup: s.Group.Path(),
		UID:    id(s.Who.UID), GID: id(s.Who.GID),
		Limits: cgroup.Limits{
			Memory: limits.Memory &^ int64(os.Getpagesize()-1), Swap: 0,
			Pids: limits.Pids, CPUQuota: spec.CPUQuota(limits), CPUPeriod: spec.CPUPeriod,
		},
		OOMScoreAdj: spec.OOMScoreAdj,
		RLimits:     rlimits(limits),
	}
	var own unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &own); err != nil {
		return p, fmt.Errorf("read own limit of open files: %w", err)
	}
	// The command gets the soft one as both; what is above it is creel-init's.
	p.RLimits["Max open files"] = fmt.Sprintf("%d %d", limits.NoFile, max(own.Max, uint64(limits.NoFile)))
	if s.Policy.UserNamespace == policy.UserNamespaceOff {
		p.Shared = []string{"user"}
		p.UIDMap, p.GIDMap = "0 0 4294967295", "0 0 4294967295"
	} else {
		p.UIDMap, p.GIDMap = idMap(p.UID), idMap(p.GID)
	}
	p.rootMounts(s)
	p.kernelMounts(s.Policy)
	if s.Tmp != nil {
		tmp := p.Mounts["/tmp"] // with the same bounds, and no other session's
		tmp.Own, tmp.Dev, tmp.Ino = false, s.Tmp.Dev, s.Tmp.Ino
		p.Mounts["/tmp"] = tmp
	}
	if err := p.countFilters(); err != nil {
		return p, err
	}
	if s.Engine == policy.EngineDocker {
		p.asDockerMakesIt(s)
	}
	return p, nil
}

// countFilters adds the sandbox's floor to the filters that it inherits, such
// as those of a hardened unit (SystemCallFilter=, systemd.exec(5)).
func (p *Prediction) countFilters() error {
	text, err := kernelfile.Read(kernelfile.Path, "/proc/self/status")
	if err != nil {
		return fmt.Errorf("read own status: %w", err)
	}
	own, err := parseStatus(text)
	p.Filters = own.Filters + 1
	return err
}

// rlimits are the resource limits that the policy or creel itself sets, by
// their names in /proc/PID/limits; they may be neither raised nor lowered. That
// of open files is not among them, since creel-init has more than the command.
func rlimits(l policy.Limits) map[string]string {
	both := func(n int64) string { return fmt.Sprintf("%d %[1]d", n) }
	limits := map[string]string{
		"Max core file size":    both(spec.CoreLimit),
		"Max locked memory":     both(spec.LockedMemory),
		"Max msgqueue size":     both(spec.MessageQueues),
		"Max nice priority":     both(0),
		"Max pending signals":   both(spec.PendingSignals),
		"Max realtime priority": both(0),
	}
	if l.FileSize > 0 {
		limits["Max file size"] = both(l.FileSize)
	}
	return limits
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
	flags := []string{"ro", "nosuid", "nodev"}
	if s.Policy.Root.Host && s.Policy.UserNamespace == policy.UserNamespaceOff {
		// Without a user namespace that locks them, crun drops these two from the
		// root. There they guard nothing: the tmpfs holds what the supervisor
		// made, which is neither setuid nor a device.
		flags = flags[:1]
	}
	p.Mounts["/"] = PredictedMount{
		FSTypes: []string{fsType}, With: flags, Root: "/", Dev: s.Root.Dev, Ino: s.Root.Ino,
	}
	for _, m := range s.Root.Mounts {
		flags := []string{"ro", "nosuid", "nodev"}
		if m.Writable {
			flags[0] = "rw"
		}
		if m.NoExec {
			flags = append(flags, "noexec")
		}
		if m.Target == rootfs.InitTarget {
			p.Exe = File{m.Dev, m.Ino}
		}
		p.Mounts[m.Target] = PredictedMount{With: flags, Dev: m.Dev, Ino: m.Ino}
	}
}

// kernelMounts are the sandbox's own file systems and what covers parts of
// /proc.
func (p *Prediction) kernelMounts(declared *policy.Policy) {
	own := func(fsType string, size, inodes int64, flags ...string) PredictedMount {
		return PredictedMount{FSTypes: []string{fsType}, With: flags, Own: true, Root: "/", Size: wholePages(size), Inodes: inodes}
	}
	p.Mounts["/proc"] = own("proc", 0, 0, "nosuid", "nodev", "noexec")
	p.Mounts["/dev"] = own("tmpfs", spec.DevSize, 0, "nosuid", "noexec")
	p.Mounts["/dev/pts"] = own("devpts", 0, 0, "nosuid", "noexec")
	p.Mounts["/dev/shm"] = own("tmpfs", spec.ShmSize, 0, "nosuid", "nodev", "noexec")
	p.Mounts["/tmp"] = own("tmpfs", declared.Tmp.Size, declared.Tmp.Inodes, "nosuid", "nodev")
	if declared.UserNamespace != policy.UserNamespaceOff {
		for path, device := range deviceNodes {
			p.Mounts[path] = PredictedMount{Rdev: device}
		}
	}
	for _, path := range spec.MaskedPaths {
		// A path this kernel does not have needs no mask, and gets none.
		if info, err := os.Stat(path); err != nil {
			continue
		} else if info.IsDir() {
			p.Mounts[path] = PredictedMount{FSTypes: []string{"tmpfs"}, With: []string{"ro"}, Own: true}
		} else {
			p.Mounts[path] = PredictedMount{Rdev: nullDevice}
		}
	}
	for _, path := range spec.ReadonlyPaths {
		if _, err := os.Stat(path); err == nil {
			p.Mounts[path] = PredictedMount{
				FSTypes: []string{"proc"}, With: []string{"ro"}, Own: true, Root: strings.TrimPrefix(path, "/proc"),
			}
		}
	}
}

// wholePages rounds up, as tmpfs does (Documentation/filesystems/tmpfs.rst).
func wholePages(size int64) int64 {
	page := int64(os.Getpagesize())
	return (size + page - 1) / page * page
}

// Package spec turns a policy into the OCI runtime configuration of its
// sandbox (opencontainers/runtime-spec config.json).
//
// It is pure: the same input gives the same bytes on every machine. It
// imports policy, profiles and the OCI types, and never opens a file, asks
// the clock or looks at the host; what only the host can tell comes in as an
// Input. The configuration names creel-init and nothing of the command: no
// argument, no variable, no credential is ever in it.
package spec

import (
	"fmt"
	"maps"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/creel-sandbox/creel/policy"
)

// HostRootID is the host uid and gid that a sandbox's uid 0 is mapped to. No
// process of a sandbox ever has it: the OCI runtime needs a mapped root while
// it sets the sandbox up. It lies above every range that systemd, useradd and
// container managers hand out (systemd's UIDS-GIDS document) and below 2^31.
const HostRootID = 2_000_000_000

// CPUPeriod is the period in microseconds that CPU limits are counted over;
// the kernel's own default.
const CPUPeriod = 100_000

// DevSize and ShmSize bound the sandbox's /dev and /dev/shm in bytes.
const (
	DevSize = 64 << 10
	ShmSize = 64 << 20
)

// LockedMemory and MessageQueues bound, in bytes, what a sandbox's user may
// lock into memory and queue (RLIMIT_MEMLOCK, RLIMIT_MSGQUEUE, getrlimit(2)).
const (
	LockedMemory  = 64 << 10
	MessageQueues = 64 << 10
)

// PendingSignals bounds the queued signals and timers of a sandbox's user
// (RLIMIT_SIGPENDING). They count against whoever made the user namespace too
// (user_namespaces(7)), which is root: without a bound of its own one sandbox
// could keep root's processes on the host from queueing any.
const PendingSignals = 256

// OOMScoreAdj makes the kernel end a sandbox before the services of its host,
// whatever protection the supervisor itself has and would pass on (proc(5)).
const OOMScoreAdj = 500

// Input is what a sandbox is made of besides its policy.
type Input struct {
	Policy *policy.Policy
	UID    uint32
	GID    uint32
	// Rootfs is the directory, on the host, of the prepared root tree.
	Rootfs string
	// CgroupsPath is the sandbox's control group from the root of the hierarchy.
	CgroupsPath string
	// Init is the path of creel-init inside the sandbox.
	Init string
	// Seccomp is the floor filter, the same for every policy.
	Seccomp *specs.LinuxSeccomp
	// Tmp is the directory that becomes /tmp; empty, the sandbox gets its own.
	Tmp string
	// InitFiles is the limit of open files that creel-init gets, where that is
	// more than the command's. The kernel holds a sender's limit against the
	// descriptors that all processes of its user have in messages nobody has
	// received yet (ETOOMANYREFS, unix(7)), so with the limit of a command any
	// other sandbox of the same user could keep this one from starting.
	InitFiles uint64
}

// CoreLimit is RLIMIT_CORE in bytes. A core would write memory, and so
// credentials, to a disk. One byte is too small for a core file, and the one
// value at which the kernel does not start the program of a piped core_pattern
// either; at 0, it does (core(5); do_coredump in fs/coredump.c).
const CoreLimit = 1

// MaskedPaths are the files and directories of /proc that tell about, or act
// on, the host rather than the sandbox.
var MaskedPaths = []string{
	"/proc/acpi", "/proc/asound", "/proc/cmdline", "/proc/interrupts", "/proc/kallsyms",
	"/proc/kcore", "/proc/keys", "/proc/key-users", "/proc/kmsg", "/proc/latency_stats",
	"/proc/modules", "/proc/pressure", "/proc/sched_debug", "/proc/scsi", "/proc/sysrq-trigger",
	"/proc/timer_list", "/proc/timer_stats",
}

// ReadonlyPaths are the parts of /proc that programs read and none may write.
var ReadonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys"}

// Build gives the OCI configuration of one sandbox.
func Build(in Input) *specs.Spec {
	oomScoreAdj := OOMScoreAdj
	return &specs.Spec{
		Version:  "1.0.2", // the newest that runc 1.1 and crun 1.8 both accept
		Root:     &specs.Root{Path: in.Rootfs, Readonly: true},
		Hostname: "sandbox",
		Process: &specs.Process{
			// No environment: a runtime may add HOME, which is creel-init's alone.
			Args:            []string{in.Init},
			Cwd:             "/",
			User:            specs.User{UID: in.UID, GID: in.GID},
			NoNewPrivileges: true,
			Capabilities:    &specs.LinuxCapabilities{},
			Rlimits:         rlimits(in.Policy.Limits, in.InitFiles),
			OOMScoreAdj:     &oomScoreAdj,
		},
		Mounts: mounts(in.Policy, in.Tmp),
		Linux:  linux(in),
	}
}

func rlimits(l policy.Limits, initFiles uint64) []specs.POSIXRlimit {
	fixed := map[string]uint64{
		"RLIMIT_CORE":       CoreLimit,
		"RLIMIT_MEMLOCK":    LockedMemory,
		"RLIMIT_MSGQUEUE":   MessageQueues,
		"RLIMIT_NICE":       0, // no higher priority than it was given, not even
		"RLIMIT_RTPRIO":     0, // where the supervisor's own limits would allow one
		"RLIMIT_NOFILE":     uint64(l.NoFile),
		"RLIMIT_SIGPENDING": PendingSignals,
	}
	if l.FileSize > 0 {
		fixed["RLIMIT_FSIZE"] = uint64(l.FileSize)
	}
	var out []specs.POSIXRlimit
	for _, name := range slices.Sorted(maps.Keys(fixed)) {
		limit := specs.POSIXRlimit{Type: name, Soft: fixed[name], Hard: fixed[name]}
		if name == "RLIMIT_NOFILE" {
			limit.Hard = max(limit.Hard, initFiles) // creel-init makes the soft one the command's hard one
		}
		out = append(out, limit)
	}
	return out
}

// mounts are the sandbox's own file systems. Declared mounts are not here:
// they are in the root tree already, mounted by descriptor.
func mounts(p *policy.Policy, tmp string) []specs.Mount {
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs",
			Options: []string{"nosuid", "noexec", "strictatime", "mode=755", fmt.Sprintf("size=%d", DevSize)}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts",
			Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm",
			Options: []string{"nosuid", "noexec", "nodev", "mode=1777", fmt.Sprintf("size=%d", ShmSize)}},
		tmpMount(p, tmp),
	}
}

func tmpMount(p *policy.Policy, shared string) specs.Mount {
	if shared != "" {
		return specs.Mount{Destination: "/tmp", Type: "bind", Source: shared, Options: []string{"bind", "rprivate", "nosuid", "nodev"}}
	}
	return specs.Mount{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs",
		Options: []string{"nosuid", "nodev", "mode=1777",
			fmt.Sprintf("size=%d", p.Tmp.Size), fmt.Sprintf("nr_inodes=%d", p.Tmp.Inodes)}}
}

func linux(in Input) *specs.Linux {
	l := &specs.Linux{
		CgroupsPath:       in.CgroupsPath,
		Namespaces:        namespaces(in.Policy),
		Resources:         resources(in.Policy.Limits),
		Seccomp:           in.Seccomp,
		MaskedPaths:       slices.Clone(MaskedPaths),
		ReadonlyPaths:     slices.Clone(ReadonlyPaths),
		RootfsPropagation: "private",
	}
	if in.Policy.UserNamespace == policy.UserNamespaceRequired {
		l.UIDMappings = mapping(in.UID)
		l.GIDMappings = mapping(in.GID)
	}
	return l
}

// mapping maps the sandbox's user to itself, so that files in a workspace
// have the right owner on both sides, and root to nobody.
func mapping(id uint32) []specs.LinuxIDMapping {
	return []specs.LinuxIDMapping{
		{ContainerID: 0, HostID: HostRootID, Size: 1},
		{ContainerID: id, HostID: id, Size: 1},
	}
}

func namespaces(p *policy.Policy) []specs.LinuxNamespace {
	kinds := []specs.LinuxNamespaceType{
		specs.PIDNamespace, specs.MountNamespace, specs.IPCNamespace,
		specs.UTSNamespace, specs.NetworkNamespace, specs.CgroupNamespace,
	}
	if p.UserNamespace == policy.UserNamespaceRequired {
		kinds = append(kinds, specs.UserNamespace)
	}
	var out []specs.LinuxNamespace
	for _, kind := range kinds {
		out = append(out, specs.LinuxNamespace{Type: kind})
	}
	return out
}

func resources(l policy.Limits) *specs.LinuxResources {
	quota, period := CPUQuota(l), uint64(CPUPeriod)
	memory := l.Memory
	return &specs.LinuxResources{
		// memory+swap equal to memory: no swap, where a secret could land.
		Memory:  &specs.LinuxMemory{Limit: &memory, Swap: &memory},
		CPU:     &specs.LinuxCPU{Quota: &quota, Period: &period},
		Pids:    &specs.LinuxPids{Limit: &l.Pids},
		Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}},
	}
}

// CPUQuota is the CPU limit in microseconds per CPUPeriod.
func CPUQuota(l policy.Limits) int64 { return l.MilliCPU * CPUPeriod / 1000 }

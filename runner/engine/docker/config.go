package docker

import (
	"fmt"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/strslice"
	"github.com/docker/go-units"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/engine"
	"github.com/creel-sandbox/creel/runner/rootfs"
	"github.com/creel-sandbox/creel/runner/spec"
)

// The labels by which the engine finds its own.
const (
	labelSupervisor = "creel.supervisor"
	labelSandbox    = "creel.sandbox"
)

// points are what the daemon mounts by itself. It mounts a file of its own on
// /etc/hostname in every container.
var points = rootfs.Points{
	Dirs:  []string{"/sys", rootfs.ControlTarget},
	Files: []string{"/etc/hostname"},
}

// covered takes the place of the daemon's own mounts, which would show the
// host's sysfs, control groups and a message queue file system: a mount that
// the caller asks for replaces a default one of the same target (daemon
// oci_linux.go, WithMounts). All are empty and cannot be written.
var covered = map[string]string{
	"/sys":           "ro,nosuid,nodev,noexec,mode=555,size=4096,nr_inodes=4",
	"/sys/fs/cgroup": "ro,nosuid,nodev,noexec,mode=555,size=4096,nr_inodes=2",
	"/dev/mqueue":    "ro,nosuid,nodev,noexec,mode=555,size=4096,nr_inodes=2",
}

// configure gives the whole configuration of a container. All that an OCI
// runtime is told as well comes from the same place as there.
func (e *Engine) configure(req engine.Request, root *root, parent string) (*container.Config, *container.HostConfig, error) {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return nil, nil, fmt.Errorf("read limit of open files: %w", err)
	}
	common := spec.Build(spec.Input{
		Policy: req.Policy, UID: req.Who.UID, GID: req.Who.GID, Init: rootfs.InitTarget, InitFiles: files.Max,
	})
	immediately := 0
	return &container.Config{
		Image:      root.image,
		Hostname:   common.Hostname,
		User:       fmt.Sprintf("%d:%d", req.Who.UID, req.Who.GID), // by number: an image's /etc/group adds none
		Entrypoint: common.Process.Args,
		Cmd:        strslice.StrSlice{rootfs.ControlTarget + "/" + socketName},
		// A name without a value unsets what the image or the daemon would set.
		Env:             append([]string{"PATH", "HOSTNAME", "HOME", "TERM"}, root.env...),
		WorkingDir:      common.Process.Cwd,
		NetworkDisabled: true,
		Healthcheck:     &container.HealthConfig{Test: []string{"NONE"}},
		Labels:          map[string]string{labelSupervisor: e.name, labelSandbox: req.ID},
		StopSignal:      "SIGKILL", // creel-init heeds no other, and a daemon that stops would wait
		StopTimeout:     &immediately,
	}, e.hostConfig(req, root, parent, common), nil
}

func (e *Engine) hostConfig(req engine.Request, root *root, parent string, common *specs.Spec) *container.HostConfig {
	resources := common.Linux.Resources
	noInit := false
	return &container.HostConfig{
		NetworkMode:    "none",
		LogConfig:      container.LogConfig{Type: "none"},
		RestartPolicy:  container.RestartPolicy{Name: container.RestartPolicyDisabled},
		CapDrop:        []string{"ALL"},
		SecurityOpt:    []string{"no-new-privileges", "seccomp=" + string(e.cfg.Floor)},
		ReadonlyRootfs: true,
		IpcMode:        container.IPCModePrivate,
		CgroupnsMode:   container.CgroupnsModePrivate,
		UsernsMode:     "host", // of a daemon with userns-remap; the policy says that there is none
		MaskedPaths:    common.Linux.MaskedPaths,
		ReadonlyPaths:  common.Linux.ReadonlyPaths,
		Mounts:         mounts(root.binds, e.controlDir(req.ID)),
		Tmpfs:          tmpfs(req, root),
		ShmSize:        spec.ShmSize,
		OomScoreAdj:    *common.Process.OOMScoreAdj,
		Init:           &noInit,
		Resources: container.Resources{
			CgroupParent: parent,
			Memory:       *resources.Memory.Limit,
			MemorySwap:   *resources.Memory.Swap,
			CPUQuota:     *resources.CPU.Quota,
			CPUPeriod:    int64(*resources.CPU.Period),
			PidsLimit:    resources.Pids.Limit,
			Ulimits:      ulimits(common.Process.Rlimits),
		},
	}
}

func mounts(binds []rootfs.Bind, control string) []mount.Mount {
	var out []mount.Mount
	for _, b := range append(binds[:len(binds):len(binds)], rootfs.Bind{Source: control, Target: rootfs.ControlTarget}) {
		out = append(out, mount.Mount{
			Type: mount.TypeBind, Source: b.Source, Target: b.Target, ReadOnly: !b.Writable,
			BindOptions: &mount.BindOptions{Propagation: mount.PropagationRPrivate, NonRecursive: true},
		})
	}
	return out
}

func tmpfs(req engine.Request, root *root) map[string]string {
	// The daemon's default has noexec.
	tmp := fmt.Sprintf("rw,exec,nosuid,nodev,mode=1777,size=%d,nr_inodes=%d", req.Policy.Tmp.Size, req.Policy.Tmp.Inodes)
	if root.closedTmp {
		// Its runtime gives it the mode of what the image has there, so that the
		// sandbox's user must own it to write to it.
		tmp += fmt.Sprintf(",uid=%d,gid=%d", req.Who.UID, req.Who.GID)
	}
	out := map[string]string{"/tmp": tmp}
	for target, options := range covered {
		out[target] = options
	}
	return out
}

func ulimits(limits []specs.POSIXRlimit) []*container.Ulimit {
	var out []*container.Ulimit
	for _, l := range limits {
		name := strings.ToLower(strings.TrimPrefix(l.Type, "RLIMIT_"))
		out = append(out, &units.Ulimit{Name: name, Soft: int64(l.Soft), Hard: int64(l.Hard)})
	}
	return out
}

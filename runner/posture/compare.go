package posture

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// The descriptors that creel-init may hold, besides the null device and its
// socket to the supervisor: what it and the Go runtime wait with. Nothing that
// names a file or directory.
var allowedFDs = []string{"anon_inode:[eventfd]"}

// receivesOnly is the propagation of a mount that is a slave and nothing else.
var receivesOnly = regexp.MustCompile(`^master:\d+$`)

// Compare lists every difference between what was predicted and what is; an
// empty list means that all of it holds.
func Compare(want Prediction, got *Posture) []string {
	c := &comparison{}
	c.namespaces(want, got)
	c.mounts(want, got)
	c.cgroups(want, got)
	c.processes(want, got)
	return c.differences
}

type comparison struct{ differences []string }

func (c *comparison) differ(format string, args ...any) {
	c.differences = append(c.differences, fmt.Sprintf(format, args...))
}

func (c *comparison) equal(what string, want, got any) {
	if want != got {
		c.differ("%s: want %v, kernel says %v", what, want, got)
	}
}

func (c *comparison) namespaces(want Prediction, got *Posture) {
	c.equal("namespaces shared with the host", strings.Join(want.Shared, " "), strings.Join(got.SharedNamespaces, " "))
	c.equal("namespaces made elsewhere", "", strings.Join(got.ForeignNamespaces, " "))
	c.equal("uid map", want.UIDMap, got.UIDMap)
	c.equal("gid map", want.GIDMap, got.GIDMap)
	c.equal("routes off the loopback", "", strings.Join(got.Routes, "; "))
	c.equal("PID namespace that /proc shows", got.Namespaces["pid"], got.ProcOf)
}

func (c *comparison) mounts(want Prediction, got *Posture) {
	missing := maps.Clone(want.Mounts)
	for _, m := range got.Mounts {
		predicted, ok := missing[m.Target]
		if !ok {
			c.differ("mount %s (%s %s): not predicted", m.Target, m.FSType, strings.Join(m.Flags, ","))
			continue
		}
		delete(missing, m.Target) // a second mount on it is not predicted
		c.mount(predicted, m)
	}
	for _, target := range slices.Sorted(maps.Keys(missing)) {
		c.differ("mount %s: missing", target)
	}
}

func (c *comparison) mount(want PredictedMount, got Mount) {
	if len(want.FSTypes) > 0 && !slices.Contains(want.FSTypes, got.FSType) {
		c.differ("mount %s: want file system %s, kernel says %s", got.Target, strings.Join(want.FSTypes, " or "), got.FSType)
	}
	for _, flag := range want.With {
		if !slices.Contains(got.Flags, flag) {
			c.differ("mount %s: want %s, kernel says %s", got.Target, flag, strings.Join(got.Flags, ","))
		}
	}
	if want.Own && got.OnHost {
		c.differ("mount %s: is a file system of the host", got.Target)
	}
	if want.Root != "" {
		c.equal("mount "+got.Target+": part of its file system", want.Root, got.Root)
	}
	if want.Size != 0 {
		c.equal("mount "+got.Target+": size", want.Size, got.Size)
	}
	if want.Inodes != 0 {
		c.equal("mount "+got.Target+": inodes", want.Inodes, got.Inodes)
	}
	if got.Propagation != "" && !(want.Receives && receivesOnly.MatchString(got.Propagation)) {
		c.differ("mount %s: propagation: want none, kernel says %s", got.Target, got.Propagation)
	}
	if want.Ino != 0 && (want.Dev != got.Dev || want.Ino != got.Ino) {
		c.differ("mount %s: is not the source that was opened (device %#x inode %d, kernel says %#x %d)",
			got.Target, want.Dev, want.Ino, got.Dev, got.Ino)
	}
	if want.Rdev != 0 && want.Rdev != got.Rdev {
		c.differ("mount %s: want device %#x, kernel says %#x", got.Target, want.Rdev, got.Rdev)
	}
	if got.Owner != 0 {
		c.differ("mount %s: a device of the host that belongs to uid %d, not to root", got.Target, got.Owner)
	}
	if got.Hidden {
		c.differ("mount %s: lies under another mount", got.Target)
	}
}

func (c *comparison) cgroups(want Prediction, got *Posture) {
	if len(got.Cgroups) == 0 {
		c.differ("control group: none")
	}
	for hierarchy, group := range got.Cgroups {
		c.equal("control group "+hierarchy, want.Cgroup, group)
	}
	c.equal("limit memory", want.Limits.Memory, got.Limits.Memory)
	c.equal("limit swap", want.Limits.Swap, got.Limits.Swap)
	c.equal("limit pids", want.Limits.Pids, got.Limits.Pids)
	c.equal("limit cpu quota", want.Limits.CPUQuota, got.Limits.CPUQuota)
	c.equal("limit cpu period", want.Limits.CPUPeriod, got.Limits.CPUPeriod)
}

// processes compares the one process of a sandbox that waits, which forks the
// command: what holds for it holds for that, but for what the command is to have
// less of (a second filter, open files).
func (c *comparison) processes(want Prediction, got *Posture) {
	c.equal("processes before the command", 1, len(got.Processes))
	if len(got.Processes) == 0 {
		return
	}
	p := got.Processes[0]
	c.equal("init: pid in the sandbox", 1, p.NSPid)
	c.equal("init: uids", strings.Repeat(" "+want.UID, 4), " "+strings.Join(p.UIDs, " "))
	c.equal("init: gids", strings.Repeat(" "+want.GID, 4), " "+strings.Join(p.GIDs, " "))
	c.equal("init: supplementary groups", want.Groups, strings.Join(p.Groups, " "))
	c.equal("init: capabilities", "", strings.Join(p.Capabilities, " "))
	c.equal("init: no new privileges", true, p.NoNewPrivs)
	c.equal("init: seccomp mode", 2, p.Seccomp)
	c.equal("init: seccomp filters", want.Filters, p.Filters)
	c.equal("init: dumpable", false, p.Dumpable)
	c.equal("init: program", want.Exe, p.Exe)
	c.equal("init: namespaces other than its own", "", strings.Join(p.Elsewhere, " "))
	c.equal("init: working directory is the root", true, p.AtRoot)
	c.equal("init: oom_score_adj", want.OOMScoreAdj, p.OOMScoreAdj)
	for _, limit := range slices.Sorted(maps.Keys(want.RLimits)) {
		c.equal("init: limit "+limit, want.RLimits[limit], p.Limits[limit])
	}
	c.descriptors(p.FDs)
}

func (c *comparison) descriptors(fds []FD) {
	sockets := 0
	for _, fd := range fds {
		switch {
		case strings.HasPrefix(fd.Target, "socket:["):
			sockets++
		case fd.Rdev != nullDevice && !slices.Contains(allowedFDs, fd.Target):
			c.differ("init: descriptor %d is %s", fd.Number, fd.Target)
		}
	}
	c.equal("init: sockets", 1, sockets)
}

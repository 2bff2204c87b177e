package posture

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The descriptors that creel-init and its waiting child may hold: the null
// device as standard streams, the control socket, the socket between the two
// and the Go runtime's poller. Nothing that names a file or directory.
var allowedFDs = []string{"/dev/null", "socket:[", "anon_inode:[eventpoll]", "anon_inode:[eventfd]", "anon_inode:[pidfd]", "pipe:["}

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
	c.equal("uid map", want.UIDMap, got.UIDMap)
	c.equal("gid map", want.GIDMap, got.GIDMap)
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
	for _, flag := range want.Without {
		if slices.Contains(got.Flags, flag) {
			c.differ("mount %s: want no %s, kernel says %s", got.Target, flag, strings.Join(got.Flags, ","))
		}
	}
	if want.Ino != 0 && (want.Dev != got.Dev || want.Ino != got.Ino) {
		c.differ("mount %s: is not the source that was opened (device %#x inode %d, kernel says %#x %d)",
			got.Target, want.Dev, want.Ino, got.Dev, got.Ino)
	}
	if want.Rdev != 0 && want.Rdev != got.Rdev {
		c.differ("mount %s: want device %#x, kernel says %#x", got.Target, want.Rdev, got.Rdev)
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

func (c *comparison) processes(want Prediction, got *Posture) {
	c.equal("processes before the command", 2, len(got.Processes))
	for i, p := range got.Processes {
		name := "init"
		if i > 0 {
			name = "waiting child"
		} else {
			c.equal("pid of init in the sandbox", 1, p.NSPid)
		}
		c.equal(name+": uids", strings.Repeat(" "+want.UID, 4), " "+strings.Join(p.UIDs, " "))
		c.equal(name+": gids", strings.Repeat(" "+want.GID, 4), " "+strings.Join(p.GIDs, " "))
		c.equal(name+": supplementary groups", "", strings.Join(p.Groups, " "))
		c.equal(name+": capabilities", "", strings.Join(p.Capabilities, " "))
		c.equal(name+": no new privileges", true, p.NoNewPrivs)
		c.equal(name+": seccomp mode", 2, p.Seccomp)
		c.equal(name+": seccomp filters", 1, p.Filters)
		c.equal(name+": dumpable", false, p.Dumpable)
		c.equal(name+": core limit", "0 0", p.Core)
		c.equal(name+": open files limit", want.NoFile, p.NoFile)
		c.descriptors(name, p.FDs)
	}
}

func (c *comparison) descriptors(name string, fds []FD) {
	for _, fd := range fds {
		allowed := slices.ContainsFunc(allowedFDs, func(prefix string) bool { return strings.HasPrefix(fd.Target, prefix) })
		if !allowed {
			c.differ("%s: descriptor %d is %s", name, fd.Number, fd.Target)
		}
	}
}

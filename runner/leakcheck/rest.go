package leakcheck

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// restingPlaces are where programs put files on a Linux host without being
// asked: the engines' state, temporary files, logs and cores.
var restingPlaces = []string{
	"/run", "/tmp", "/var/tmp", "/dev/shm", "/dev/mqueue", "/var/log", "/var/crash", "/var/spool",
	"/var/lib/systemd/coredump", "/var/lib/docker/containers", "/var/lib/docker/image", "/var/lib/containerd/io.containerd.metadata.v1.bolt",
}

// restControl is the place that shows that a walk finds what is there.
const restControl = "files at rest, in the control's own directory"

// atRest walks all of them, and those that belong to creel and to the policy.
func (c *check) atRest(ctx context.Context, when string) {
	mounts, err := mountsOf(os.Getpid())
	if err != nil {
		c.notes.problem(restControl, "%v", err)
	}
	for _, named := range outermost(slices.Concat(restingPlaces, c.where.Directories, c.where.Mounts, coreDirectory())) {
		w := c.walk(ctx, "files at rest in "+named)
		root, err := filepath.EvalSymlinks(named) // only root can have made it a link
		if gone(err) {
			c.notes.absent(w.place, "there is none")
			continue
		}
		if err != nil {
			c.notes.problem(w.place, "%v", err)
			continue
		}
		if c.notes.leftOut(root) {
			c.notes.leaveOut(w.place)
		}
		w.root(root)
		for _, m := range mounts {
			if strings.HasPrefix(m.path, root+"/") && !slices.Contains(kernelOnly, m.info.FSType) {
				w.root(m.path)
			}
		}
	}
	w := c.walk(ctx, restControl)
	of := map[string]string{aName: "a name", aTarget: "a link", aFile: "a file"}
	for _, control := range of {
		c.notes.expect(restControl, "entries", control+" "+when)
	}
	w.root(fmt.Sprintf("/proc/%d/root%s", c.holder.pid(), heldDir))
	for _, what := range w.controls {
		c.notes.found(restControl, of[what]+" "+when)
	}
}

// outermost are those directories that are in no other of them.
func outermost(dirs []string) []string {
	dirs = slices.Clone(dirs)
	slices.Sort(dirs)
	return slices.DeleteFunc(slices.Compact(slices.Clone(dirs)), func(dir string) bool {
		return slices.ContainsFunc(dirs, func(other string) bool { return strings.HasPrefix(dir, other+"/") })
	})
}

func (c *check) walk(ctx context.Context, place string) *walk {
	c.notes.expect(place, "entries")
	return &walk{ctx: ctx, notes: c.notes, sought: c.kernel.sought, place: place, since: c.changedSince}
}

// coreDirectory is where the kernel would write a core file, if it is one
// directory (core(5)).
func coreDirectory() []string {
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	dir := filepath.Dir(strings.TrimSpace(string(pattern)))
	if err != nil || !strings.HasPrefix(dir, "/") || dir == "/" || strings.Contains(dir, "%") {
		return nil // the command's own directory, or a program
	}
	return []string{dir}
}

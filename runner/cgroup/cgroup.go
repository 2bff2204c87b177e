// Package cgroup reads and removes the control groups that an OCI runtime
// made for sandboxes: which exist, what is in them, which limits are in force
// and what is used. It knows the legacy (v1, cgroups(7)) and the unified (v2,
// Documentation/admin-guide/cgroup-v2.rst) layouts.
//
// It imports kernelfile of this module and never sets a limit: the runtime
// sets them from the OCI configuration, and this package reads back what the
// kernel holds, so that a limit that was not applied is seen.
package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/kernelfile"
)

// Mount is where every distribution mounts the control groups.
const Mount = "/sys/fs/cgroup"

// ErrNotFound says that a group does not exist (any more).
var ErrNotFound = errors.New("control group not found")

// Hierarchy is the part of the control group tree that belongs to one
// supervisor: every sandbox is a child of its parent group.
type Hierarchy struct {
	// Unified is true on cgroup v2. On a hybrid host it is false, because the
	// limits are in the v1 controllers.
	Unified bool
	// Parent is the group, from the root of each hierarchy, that holds the
	// sandboxes.
	Parent string
	mount  string // where the hierarchies are: Mount
	// roots are the directories of the hierarchies: one on v2; on v1 one for
	// each mounted controller and named hierarchy.
	roots []string
}

// Open finds the control group layout of this host. parent is the absolute
// path, from the root of the hierarchy, of the group that holds (or will
// hold) the sandboxes.
func Open(parent string) (*Hierarchy, error) {
	unified, err := isUnified(Mount)
	if err != nil {
		return nil, err
	}
	return open(Mount, unified, parent)
}

func open(mount string, unified bool, parent string) (*Hierarchy, error) {
	h := &Hierarchy{Unified: unified, Parent: parent, mount: mount}
	if unified {
		h.roots = []string{mount}
		return h, nil
	}
	entries, err := os.ReadDir(mount)
	if err != nil {
		return nil, fmt.Errorf("list control group hierarchies: %w", err)
	}
	for _, entry := range entries {
		if entry.IsDir() { // cpu -> cpu,cpuacct symlinks name a hierarchy twice
			h.roots = append(h.roots, filepath.Join(mount, entry.Name()))
		}
	}
	return h, nil
}

// Hybrid reports whether the host has a v2 tree beside its v1 controllers.
func Hybrid() bool {
	unified, err := isUnified(filepath.Join(Mount, "unified"))
	return err == nil && unified
}

func isUnified(dir string) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return false, fmt.Errorf("statfs %s: %w", dir, err)
	}
	return st.Type == unix.CGROUP2_SUPER_MAGIC, nil
}

// Path is the group of one sandbox, as an OCI cgroupsPath.
func (h *Hierarchy) Path(id string) string { return filepath.Join(h.Parent, id) }

// dir is the directory of a sandbox's group for a v1 controller; on v2 there
// is one directory whatever the controller.
func (h *Hierarchy) dir(controller, id string) string {
	if h.Unified {
		return filepath.Join(h.mount, h.Parent, id)
	}
	return filepath.Join(h.mount, controller, h.Parent, id)
}

// List names the sandboxes that have a group in any hierarchy, sorted.
func (h *Hierarchy) List() ([]string, error) {
	seen := map[string]bool{}
	for _, root := range h.roots {
		entries, err := os.ReadDir(filepath.Join(root, h.Parent))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list control groups: %w", err)
		}
		for _, entry := range entries {
			if entry.IsDir() {
				seen[entry.Name()] = true
			}
		}
	}
	ids := make([]string, 0, len(seen))
	for id := range seen {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, nil
}

// Exists says whether a sandbox has a group where its processes are counted.
func (h *Hierarchy) Exists(id string) bool {
	return unix.Access(h.dir("pids", id), unix.F_OK) == nil
}

// Procs lists the processes in a sandbox's group, by host pid. A group that
// is gone gives ErrNotFound.
func (h *Hierarchy) Procs(id string) ([]int, error) { return procs(h.dir("pids", id)) }

func procs(dir string) ([]int, error) {
	text, err := kernelfile.Read(kernelfile.Path, filepath.Join(dir, "cgroup.procs"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("read control group: %w", err)
	}
	var pids []int
	for _, field := range strings.Fields(text) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return nil, fmt.Errorf("parse cgroup.procs: %w", err)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// Kill sends SIGKILL to every process in a sandbox's group and lists them. It
// is for what a dead supervisor or a failed launch left; a live sandbox is
// ended by killing its init. Every hierarchy is looked at, since a runtime
// that was killed may have put a process in some of them only.
func (h *Hierarchy) Kill(id string) ([]int, error) {
	var all []int
	for _, root := range h.roots {
		dir := filepath.Join(root, h.Path(id))
		pids, err := procs(dir)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, pid := range pids {
			if slices.Contains(all, pid) {
				continue
			}
			if err := killIn(dir, pid); err != nil {
				return nil, fmt.Errorf("kill %d: %w", pid, err)
			}
			all = append(all, pid)
		}
	}
	return all, nil
}

// killIn kills a process that is still in the group: its number alone might
// be another's by now, so it is held first and then looked for again.
func killIn(dir string, pid int) error {
	if pid <= 0 {
		return unix.ESRCH // of another PID namespace; 0 would be our own group
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	pids, err := procs(dir)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if !slices.Contains(pids, pid) {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	return nil
}

// Remove removes the empty group of a sandbox from every hierarchy; groups
// that a sandbox could have below it do not exist, since a sandbox has no
// writable cgroupfs.
func (h *Hierarchy) Remove(id string) error { return h.removeGroup(h.Path(id)) }

// removeTimeout bounds the wait for killed processes to be gone, and removePause
// is the time between two tries: v1 does not announce it.
const (
	removeTimeout = 5 * time.Second
	removePause   = 2 * time.Millisecond
)

// End removes a sandbox's group, and while a process is in it kills what is
// there; it lists what it killed. It gives up after 5 s, or when ctx ends, with
// the error of the last try.
func (h *Hierarchy) End(ctx context.Context, id string) (killed []int, err error) {
	// Most groups are empty by now. The kernel removes no other, and asking it
	// costs less than looking.
	if err := h.Remove(id); err == nil || !errors.Is(err, unix.EBUSY) {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, removeTimeout)
	defer cancel()
	for {
		pids, err := h.Kill(id)
		if err != nil {
			return killed, err
		}
		for _, pid := range pids {
			if !slices.Contains(killed, pid) {
				killed = append(killed, pid)
			}
		}
		err = h.Remove(id)
		if err == nil || !errors.Is(err, unix.EBUSY) {
			return killed, err
		}
		select {
		case <-ctx.Done():
			return killed, err
		case <-time.After(removePause):
		}
	}
}

// RemoveParent removes the parent group, which holds no sandbox any more.
// The level above it that creel made is removed too, when empty.
func (h *Hierarchy) RemoveParent() error {
	if err := h.removeGroup(h.Parent); err != nil {
		return err
	}
	if above := filepath.Dir(h.Parent); above == "/creel" || above == "/creel.slice" {
		// Another supervisor may still have its own parent in there.
		if err := h.removeGroup(above); err != nil && !errors.Is(err, unix.EBUSY) {
			return err
		}
	}
	return nil
}

func (h *Hierarchy) removeGroup(path string) error {
	var errs []error
	for _, root := range h.roots {
		err := unix.Rmdir(filepath.Join(root, path))
		if err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("remove control group %s: %w", path, err))
		}
	}
	return errors.Join(errs...)
}

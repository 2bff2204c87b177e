package oci

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Remove implements engine.Engine.
func (e *Engine) Remove(ctx context.Context, id string) error {
	if err := e.deleteStray(ctx, id); err != nil {
		return fmt.Errorf("remove sandbox %s: %w", id, err)
	}
	pids, err := e.cfg.Cgroups.End(ctx, id)
	if !e.adopted.holds(id) {
		if pid, err := e.recordedPid(id); err == nil && !e.adopted.has(pid) {
			pids = append(pids, pid) // of a launch that was given up: perhaps dead, and in no group any more
		}
	}
	err = errors.Join(err,
		removeDir(filepath.Join(e.runtimeRoot(), id), runtimeFiles),
		removeDir(e.bundle(id), bundleFiles),
	)
	if err != nil {
		return fmt.Errorf("remove sandbox %s: %w", id, err)
	}
	// Out of their group, they are dead: those that became the supervisor's
	// children (prctl(2), PR_SET_CHILD_SUBREAPER) wait only to be collected.
	for _, pid := range pids {
		collect(pid)
	}
	e.adopted.leave(id, pids)
	e.orphans.collect(e)
	return nil
}

// deleteStray has the runtime delete a container that is not where it should
// be, which nobody else can find. For any other, taking its group and its
// directories away is all that the runtime's own "delete" does, and a start of
// the runtime would cost more. A state that the runtime cannot read any more is
// removed with the directories all the same.
func (e *Engine) deleteStray(ctx context.Context, id string) error {
	if e.cfg.Cgroups.Exists(id) {
		return nil
	}
	if err := unix.Access(filepath.Join(e.runtimeRoot(), id), unix.F_OK); err != nil {
		return nil
	}
	if _, err := e.cfg.Cgroups.Kill(id); err != nil {
		return err
	}
	if err := e.runtime(ctx, id, []*os.File{e.cfg.Lock}, "delete", "--force", id); err != nil && ctx.Err() != nil {
		return err
	}
	return nil
}

// What is in the runtime's directory of a container, and in its bundle.
var (
	runtimeFiles = []string{"config.json", "seccomp.bpf", "status", "state.json"} // of crun and of runc
	bundleFiles  = []string{"config.json", "pid", "runtime.log"}
)

// removeDir removes a directory with the files it should hold, and if there is
// anything else with that as well.
func removeDir(dir string, files []string) error {
	for _, name := range files {
		_ = unix.Unlink(filepath.Join(dir, name)) // what is left, rmdir(2) tells
	}
	if err := unix.Rmdir(dir); err == nil || err == unix.ENOENT {
		return nil
	}
	return os.RemoveAll(dir)
}

// collect takes the zombies of a process, or of a group if negative, that are
// the supervisor's children, until there are none.
func collect(pid int) {
	for {
		if _, err := unix.Wait4(pid, nil, 0, nil); err != nil && err != unix.EINTR {
			return
		}
	}
}

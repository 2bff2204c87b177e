package docker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"regexp"
	"slices"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"

	"github.com/creel-sandbox/creel/runner/cgroup"
	"github.com/creel-sandbox/creel/runner/engine"
)

// Remove implements engine.Engine. What the daemon does not remove now is
// tried again in the background until it says that it is gone.
func (e *Engine) Remove(ctx context.Context, id string) error {
	err := e.remove(ctx, id)
	if err != nil {
		e.lost.add(id)
		return fmt.Errorf("remove sandbox %s, which is tried again until it is gone: %w", id, err)
	}
	return nil
}

func (e *Engine) remove(ctx context.Context, id string) error {
	name := e.called(id)
	held, err := e.recorded(id)
	if held == "" && containerID.MatchString(id) {
		name, held = id, id // found by its group alone
	}
	if err != nil {
		return err
	}
	if held != "" {
		// First, since it needs no daemon, and the daemon could take its time.
		if err := e.end(ctx, held); err != nil {
			return err
		}
	}
	if err := e.removeContainer(ctx, name); err != nil {
		return err
	}
	if held != "" { // again: a start may have been under way
		if err := e.end(ctx, held); err != nil {
			return err
		}
	}
	return os.RemoveAll(e.dir(id))
}

// recorded gives the container of a sandbox, or "".
func (e *Engine) recorded(id string) (string, error) {
	data, err := os.ReadFile(e.containerPath(id))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read record of container: %w", err)
	}
	return string(data), nil
}

// removeTimeout bounds what is asked of a daemon that may not answer any more.
const removeTimeout = 5 * time.Second

// removeContainer returns once the daemon says that there is no such
// container. A removal that another call has begun is a conflict until then.
func (e *Engine) removeContainer(ctx context.Context, name string) error {
	timeout := e.cfg.Timeout
	if !e.answers() { // nobody should have to wait for it a second time
		timeout = min(timeout, removeTimeout)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errTimeout)
	defer cancel()
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := e.call(ctx, "remove container", func(ctx context.Context) error {
			return e.api.ContainerRemove(ctx, name, container.RemoveOptions{Force: true, RemoveVolumes: true})
		})
		switch {
		case err == nil, errdefs.IsNotFound(err):
			return nil
		case !errdefs.IsConflict(err):
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", err, context.Cause(ctx))
		case <-time.After(wait):
		}
	}
}

// listTimeout bounds what a list asks of the daemon: the kernel's part of the
// truth must not wait long for it.
const listTimeout = 2 * time.Second

// List implements engine.Engine: what the kernel has, what the state directory
// has, and, when the daemon answers, what it has.
func (e *Engine) List(ctx context.Context) ([]engine.Listed, error) {
	listed := map[string]engine.Listed{} // by ID
	known := map[string]bool{}           // containers
	ids, err := e.recordedIDs()
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		held, err := e.recorded(id)
		if err != nil {
			return nil, err
		}
		known[held] = true
		listed[id] = engine.Listed{ID: id, Group: e.groupOf(held, id)}
	}
	for held, id := range e.containers(ctx, len(ids) > 0) {
		if !known[held] {
			known[held] = true
			listed[id] = engine.Listed{ID: id, Group: e.groupOf(held, id)}
		}
	}
	for _, g := range e.groups {
		containers, err := g.containers()
		if err != nil {
			return nil, err
		}
		for _, held := range containers {
			if !known[held] {
				listed[held] = engine.Listed{ID: held, Group: g.Group(g.of(held))}
			}
		}
	}
	var out []engine.Listed
	for _, id := range slices.Sorted(maps.Keys(listed)) {
		out = append(out, listed[id])
	}
	return out, nil
}

// containers gives what the daemon says there is, where it is asked and
// answers.
func (e *Engine) containers(ctx context.Context, left bool) map[string]string {
	if e.listed.Swap(true) && !e.used.Load() && !left {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, listTimeout, errTimeout)
	defer cancel()
	found, err := e.labelled(ctx)
	if err != nil {
		e.cfg.Log.WithError(err).Debug("the list is without the daemon's part")
	}
	return found
}

// validID is what the supervisor calls a sandbox: nothing that leads anywhere
// as part of a path.
var validID = regexp.MustCompile(`^[0-9a-z]{1,63}$`)

// containerID is what Docker calls a container.
var containerID = regexp.MustCompile(`^[0-9a-f]{64}$`)

// groupOf gives the control group of a sandbox's container, under the driver
// that it was made with.
func (e *Engine) groupOf(container, id string) cgroup.Group {
	if container == "" {
		return e.groups[0].Group(id) // there is none of this name, nor ever will be
	}
	for _, g := range e.groups {
		if group := g.Group(g.of(container)); exists(group) {
			return group
		}
	}
	return e.groups[0].Group(e.groups[0].of(container))
}

func exists(g cgroup.Group) bool {
	_, err := g.Procs()
	return err == nil
}

// recordedIDs lists the sandboxes that have a state directory.
func (e *Engine) recordedIDs() ([]string, error) {
	entries, err := os.ReadDir(e.stateDir())
	if err != nil {
		return nil, fmt.Errorf("list sandboxes: %w", err)
	}
	var ids []string
	for _, entry := range entries {
		if entry.IsDir() {
			ids = append(ids, entry.Name())
		}
	}
	return ids, nil
}

// labelled asks the daemon for all sandboxes of this supervisor: container to
// sandbox.
func (e *Engine) labelled(ctx context.Context) (map[string]string, error) {
	found := map[string]string{}
	err := e.call(ctx, "list containers", func(ctx context.Context) error {
		summaries, err := e.api.ContainerList(ctx, container.ListOptions{
			All: true, Filters: filters.NewArgs(filters.Arg("label", labelSupervisor+"="+e.name)),
		})
		for _, s := range summaries {
			id := s.Labels[labelSandbox]
			// Otherwise somebody else has put this label on it.
			ours := validID.MatchString(id) && slices.Contains(s.Names, "/"+e.called(id))
			if _, looking := e.looks.Load(id); ours && !looking {
				found[s.ID] = id
			}
		}
		return err
	})
	return found, err
}

package docker

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/creel-sandbox/creel/runner/cgroup"
	"github.com/creel-sandbox/creel/runner/engine"
)

// group is the parent of the sandboxes' control groups under one of the
// daemon's two cgroup drivers.
type group struct {
	*cgroup.Hierarchy
	driver         string
	parent         string // as the daemon is told
	prefix, suffix string // around a container's ID
}

// openGroups finds both parents; which of them is used, the daemon decides,
// and a former one may have decided otherwise.
func (e *Engine) openGroups() error {
	// Beside the supervisor's own parent, which lists what is not Docker's.
	plain := e.cfg.Cgroups.Parent + "-docker"
	// A dash makes a slice nest (systemd.slice(5)): creel-x.slice is in creel.slice.
	slice := "creel-" + e.name + ".slice"
	for _, g := range []group{
		{driver: "cgroupfs", parent: plain},
		{driver: "systemd", parent: slice, prefix: "docker-", suffix: ".scope"},
	} {
		at := g.parent
		if g.driver == "systemd" {
			at = path.Join("/creel.slice", slice)
		}
		var err error
		if g.Hierarchy, err = cgroup.Open(at); err != nil {
			return err
		}
		e.groups = append(e.groups, g)
	}
	return nil
}

func (e *Engine) groupsOf(driver string) (group, error) {
	for _, g := range e.groups {
		if g.driver == driver {
			return g, nil
		}
	}
	return group{}, fmt.Errorf("%w: its cgroup driver is %q, so limits are not in force", engine.ErrRefused, driver)
}

// of gives the name of a container's group.
func (g group) of(container string) string { return g.prefix + container + g.suffix }

// containers lists the containers that have a group.
func (g group) containers() ([]string, error) {
	names, err := g.List()
	if err != nil {
		return nil, err
	}
	for i, name := range names {
		names[i] = strings.TrimSuffix(strings.TrimPrefix(name, g.prefix), g.suffix)
	}
	return names, nil
}

// end kills what runs in a container and removes its groups: it works without
// the daemon too.
func (e *Engine) end(ctx context.Context, container string) error {
	var errs []error
	for _, g := range e.groups {
		_, err := g.End(ctx, g.of(container))
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

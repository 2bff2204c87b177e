package docker

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/system"

	"github.com/creel-sandbox/creel/runner/advisory"
	"github.com/creel-sandbox/creel/runner/engine"
)

// Examine implements engine.Engine. It asks the daemon anew, whatever that
// said before.
func (e *Engine) Examine(ctx context.Context) (*engine.Health, error) {
	d, err := e.ask(ctx)
	if err != nil {
		return nil, err
	}
	health := &engine.Health{Version: d.version, Notes: notes(d.info)}
	err = e.call(ctx, "ask for its version", func(ctx context.Context) error {
		version, err := e.api.ServerVersion(ctx)
		if err != nil {
			return err
		}
		build, known := runtimeOf(version, d.info.DefaultRuntime)
		if known {
			health.Builds = []advisory.Build{build}
			return nil
		}
		health.Notes = append(health.Notes, engine.Note{About: "advisories", Warning: true,
			Found: fmt.Sprintf("the daemon does not say which version its runtime %s is", d.info.DefaultRuntime),
			Hint:  "run it with --version, and compare with the advisories of its project"})
		return nil
	})
	return health, err
}

// runtimeOf finds the default runtime, which makes our containers, among the
// parts of a daemon (version_unix.go of moby: it is named as configured).
func runtimeOf(version types.Version, name string) (advisory.Build, bool) {
	for _, part := range version.Components {
		if part.Name != name || name != "runc" && name != "crun" {
			continue
		}
		build, err := advisory.Component(part.Name, part.Version, part.Details["GitCommit"])
		return build, err == nil
	}
	return advisory.Build{}, false
}

// notes are what a daemon's set-up means for our containers.
func notes(info system.Info) []engine.Note {
	list := []engine.Note{
		{About: "control groups", Found: fmt.Sprintf("v%s, driver %s", info.CgroupVersion, info.CgroupDriver)},
		{About: "user namespaces", Found: "Docker gives no container one of its own: policies must say 'userNamespace: off'"},
	}
	if !slices.ContainsFunc(info.SecurityOptions, func(o string) bool { return strings.HasPrefix(o, "name=seccomp") }) {
		list = append(list, engine.Note{About: "seccomp", Warning: true, Found: "the daemon has none, so no sandbox of it would pass",
			Hint: "install a Docker that is built with seccomp"})
	}
	for _, limit := range []struct {
		name string
		has  bool
	}{{"memory", info.MemoryLimit}, {"swap", info.SwapLimit}, {"cpus", info.CPUCfsQuota}, {"pids", info.PidsLimit}} {
		if !limit.has {
			list = append(list, engine.Note{About: "limits", Warning: true, Found: "the daemon cannot limit " + limit.name,
				Hint: "the kernel's control group for it is missing or switched off"})
		}
	}
	return list
}

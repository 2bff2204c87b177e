package oci

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"

	"github.com/creel-sandbox/creel/runner/advisory"
	"github.com/creel-sandbox/creel/runner/cgroup"
	"github.com/creel-sandbox/creel/runner/engine"
)

// Version implements engine.Engine.
func (e *Engine) Version(ctx context.Context) (string, error) {
	text, err := e.versionText(ctx)
	if err != nil {
		return "", err
	}
	first, _, _ := strings.Cut(text, "\n")
	return first, nil
}

// Examine implements engine.Engine.
func (e *Engine) Examine(ctx context.Context) (*engine.Health, error) {
	text, err := e.versionText(ctx)
	if err != nil {
		return nil, err
	}
	first, _, _ := strings.Cut(text, "\n")
	health := &engine.Health{Version: fmt.Sprintf("%s (%s)", first, e.cfg.Runtime)}
	build, err := advisory.Parse(text)
	if err != nil {
		health.Notes = append(health.Notes, engine.Note{About: "advisories", Warning: true,
			Found: err.Error(), Hint: "creel knows the versions of crun and runc only"})
		return health, nil
	}
	health.Builds = []advisory.Build{build}
	if build.Runtime == "crun" && !e.cfg.Cgroups.Unified && cgroup.Hybrid() {
		health.Notes = append(health.Notes, engine.Note{About: "control groups", Warning: true,
			Found: "crun calls v1 with a v2 tree beside it unsupported; the supervisor hides the v2 tree from it",
			Hint:  "boot with systemd.unified_cgroup_hierarchy=1 to have v2, or say 'runtime: runc' in creel.yaml"})
	}
	return health, nil
}

// versionText is all that the runtime says of its version.
func (e *Engine) versionText(ctx context.Context) (string, error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, e.cfg.Runtime, "--version")
	cmd.Stdout = &out
	err := e.runs.start(cmd)
	if err == nil {
		err = e.runs.wait(cmd)
	}
	if err != nil {
		return "", fmt.Errorf("run %s --version: %w", e.cfg.Runtime, err)
	}
	return out.String(), nil
}

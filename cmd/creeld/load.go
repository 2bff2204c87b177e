package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/supervisor"
)

// loadConfig reads creel.yaml. A file that is missing where none was asked
// for by name means the defaults.
func loadConfig(path string) (*policy.Config, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read configuration: %w (an empty file means the defaults)", err)
	}
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	cfg, problems := policy.ParseConfig(path, data)
	if policy.HasErrors(problems) {
		return nil, supervisor.ProblemsError(problems)
	}
	return cfg, nil
}

// loader reads the configuration and the policies anew at each call. What a
// running supervisor cannot change (directories, engine) must be as it was.
func loader(path string, started *policy.Config) supervisor.Loader {
	return func() (*supervisor.Declared, error) {
		cfg, err := loadConfig(path)
		if err != nil {
			return nil, err
		}
		if err := sameFoundation(started, cfg); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		set, problems := policy.LoadSet(os.DirFS("/"), cfg.PolicyDir)
		if set == nil || policy.HasErrors(problems) {
			return nil, supervisor.ProblemsError(problems)
		}
		if err := conflicts(set, cfg); err != nil {
			return nil, err
		}
		placeExecSockets(set, cfg)
		if err := supervisor.CheckEgress(set); err != nil {
			return nil, err
		}
		filters, err := supervisor.CompileFilters(set)
		if err != nil {
			return nil, err
		}
		return &supervisor.Declared{Config: cfg, Policies: set, Filters: filters}, nil
	}
}

// conflicts finds the policies that would let a sandbox see creel's own
// directories, which only this configuration names.
func conflicts(set *policy.Set, cfg *policy.Config) error {
	var problems []policy.Problem
	for _, name := range set.Names() {
		if doc, ok := set.Document(name); ok {
			problems = append(problems, doc.Conflicts(cfg)...)
		}
	}
	if policy.HasErrors(problems) {
		return supervisor.ProblemsError(problems)
	}
	return nil
}

// tokenText tells one socket for tokens from another.
func tokenText(s *policy.TokenSocket) string {
	if s == nil {
		return "none"
	}
	return fmt.Sprintf("%+v", *s)
}

// vaultText tells one vault from another; it holds no secret.
func vaultText(v *policy.Vault) string {
	if v == nil {
		return "none"
	}
	return fmt.Sprintf("%+v", *v)
}

func sameFoundation(was, is *policy.Config) error {
	for _, key := range []struct{ name, was, is string }{
		{"runtimeDir", was.RuntimeDir, is.RuntimeDir},
		{"auditDir", was.AuditDir, is.AuditDir},
		{"engine", string(was.Engine), string(is.Engine)},
		{"runtime", was.Runtime, is.Runtime},
		{"imageDir", was.ImageDir, is.ImageDir},
		{"dockerSocket", was.DockerSocket, is.DockerSocket},
		{"initPath", was.InitPath, is.InitPath},
		{"group", was.Group, is.Group},
		{"stateDir", was.StateDir, is.StateDir},
		{"tokenSocket", tokenText(was.TokenSocket), tokenText(is.TokenSocket)},
		{"vault", vaultText(was.Vault), vaultText(is.Vault)},
		{"secrets", fmt.Sprintf("%+v", was.Secrets), fmt.Sprintf("%+v", is.Secrets)},
	} {
		if key.was != key.is {
			return fmt.Errorf("%s: was %q and cannot become %q by a reload; restart creeld", key.name, key.was, key.is)
		}
	}
	return nil
}

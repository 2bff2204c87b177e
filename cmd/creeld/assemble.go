package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/profiles"
	"github.com/creel-sandbox/creel/runner/cgroup"
	"github.com/creel-sandbox/creel/runner/credential"
	"github.com/creel-sandbox/creel/runner/engine"
	"github.com/creel-sandbox/creel/runner/engine/docker"
	"github.com/creel-sandbox/creel/runner/engine/oci"
	"github.com/creel-sandbox/creel/runner/host"
	"github.com/creel-sandbox/creel/runner/hygiene"
	"github.com/creel-sandbox/creel/runner/hygiene/keyring"
	"github.com/creel-sandbox/creel/runner/image"
	"github.com/creel-sandbox/creel/runner/rootfs"
	"github.com/creel-sandbox/creel/runner/server"
	"github.com/creel-sandbox/creel/runner/spec"
	"github.com/creel-sandbox/creel/runner/supervisor"
)

// lockWait is how long a start waits for what a killed supervisor left
// running.
const lockWait = 5 * time.Second

// assemble makes all parts of a daemon, or undoes those it made.
func assemble(ctx context.Context, log *logrus.Logger, configPath string) (_ *daemon, err error) {
	d := &daemon{log: log, reloads: make(chan chan<- error), stopping: make(chan struct{})}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	cfg, err := loadConfig(configPath)
	if err != nil {
		return nil, err
	}
	lock, err := prepareDir(cfg.RuntimeDir)
	if err != nil {
		return nil, err
	}
	d.onClose(lock.Close)
	groups, err := openCgroups(cfg.RuntimeDir)
	if err != nil {
		return nil, err
	}
	d.onClose(groups.RemoveParent)
	stage, err := openStage(cfg)
	if err != nil {
		return nil, err
	}
	d.onClose(stage.Close)
	if err := d.prepareAgentSockets(cfg); err != nil {
		return nil, err
	}
	engines, err := d.openEngines(cfg, groups, stage, lock)
	if err != nil {
		return nil, err
	}
	systemd := credential.NewSystemd(os.Getenv("CREDENTIALS_DIRECTORY")) // systemd.exec(5), Credentials
	secrets := openSecrets(cfg, systemd)
	credentials, leases, err := d.openCredentials(cfg, systemd, secrets)
	if err != nil {
		return nil, err
	}
	tokens, err := d.openTokens(cfg)
	if err != nil {
		return nil, err
	}
	searcher, ring := d.openSearcher(cfg)
	sockets, err := d.openSockets(cfg)
	if err != nil {
		return nil, err
	}
	// The last that can fail: from now on it makes sandboxes, which stop takes away.
	d.supervisor, err = supervisor.New(ctx, supervisor.Config{
		Engines: engines, Cgroups: groups, Credentials: credentials, Leases: leases, Secrets: secrets, Tokens: tokens, Stage: stage, Hygiene: searcher, Keyring: ring, InitPath: cfg.InitPath,
		Load: loader(configPath, cfg), Listen: d.listenForAgent, Log: log,
	})
	if err != nil {
		return nil, err
	}
	d.openServer(sockets, configPath)
	d.supervisor.BeginAgents() // which may run commands at once
	return d, nil
}

// openSearcher makes what searches workspaces, and what it knows values by.
func (d *daemon) openSearcher(cfg *policy.Config) (*hygiene.Searcher, *keyring.Keyring) {
	ring := keyring.New()
	searcher := hygiene.NewSearcher(filepath.Join(filepath.Dir(cfg.InitPath), "creel-check"), filepath.Join(cfg.StateDir, "hygiene"), ring.Key())
	d.onClose(searcher.Close)
	return searcher, ring
}

func (d *daemon) openServer(sockets *sockets, configPath string) {
	d.server = server.New(server.Options{
		Exec: sockets.exec, Admin: sockets.admin, Token: sockets.token, Backend: d.supervisor, SandboxOf: d.supervisor.SandboxOf,
		Admins: d.supervisor.Admins(), Reload: d.askReload, ConfigPath: configPath, Log: d.log.Warnf,
	})
}

// prepareDir makes the runtime directory and takes its lock. The directory
// can be passed through by everyone, since a runtime in a user namespace walks
// it to the root tree, but listed by nobody; each thing in it has its own mode.
func prepareDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, fmt.Errorf("make runtime directory: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return nil, fmt.Errorf("stat runtime directory: %w", err)
	}
	if st.Uid != 0 || st.Mode&0o066 != 0 {
		return nil, fmt.Errorf("runtime directory %s: others may list or change it, and hold its lock; chown it to root and chmod 0711", dir)
	}
	return host.Lock(dir, lockWait)
}

func openCgroups(runtimeDir string) (*cgroup.Hierarchy, error) {
	if cgroup.Hybrid() {
		if err := host.HideUnifiedTree(); err != nil {
			return nil, err
		}
	}
	parent, err := host.CgroupParent(runtimeDir)
	if err != nil {
		return nil, err
	}
	return cgroup.Open(parent)
}

func openStage(cfg *policy.Config) (*rootfs.Stage, error) {
	images, err := image.Open(cfg.ImageDir)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(cfg.RuntimeDir, "roots")
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return nil, fmt.Errorf("make stage: %w", err)
	}
	return rootfs.NewStage(dir, images) // removes the directory when it is closed
}

// openEngines opens the engines that this host has; the configured one it
// must have.
func (d *daemon) openEngines(cfg *policy.Config, groups *cgroup.Hierarchy, stage *rootfs.Stage, lock *os.File) (map[policy.Engine]engine.Engine, error) {
	engines := map[policy.Engine]engine.Engine{}
	oci, err := openOCI(cfg, groups, stage, lock)
	switch {
	case err == nil:
		d.onClose(oci.Close)
		engines[policy.EngineOCI] = oci
	case cfg.Engine == policy.EngineOCI:
		return nil, err
	default:
		d.log.WithError(err).Warn("there is no oci engine")
	}
	docker, err := docker.New(docker.Config{
		Socket: cfg.DockerSocket, StateDir: cfg.RuntimeDir, InitPath: cfg.InitPath, Cgroups: groups,
		Floor: profiles.Floor(), Log: d.log,
	})
	if err != nil {
		return nil, err
	}
	d.onClose(docker.Close)
	engines[policy.EngineDocker] = docker
	return engines, nil
}

func openOCI(cfg *policy.Config, groups *cgroup.Hierarchy, stage *rootfs.Stage, lock *os.File) (engine.Engine, error) {
	runtime, err := findRuntime(cfg.Runtime)
	if err != nil {
		return nil, err
	}
	floor, err := spec.Floor()
	if err != nil {
		return nil, err
	}
	return oci.New(oci.Config{
		Runtime: runtime, StateDir: cfg.RuntimeDir, Cgroups: groups, Seccomp: floor, Lock: lock,
		Stage: stage, InitPath: cfg.InitPath,
	})
}

// findRuntime looks for the runtime in the directories of the system only,
// whatever PATH creeld was started with.
func findRuntime(name string) (string, error) {
	names := []string{name}
	if name == "" {
		names = []string{"crun", "runc"}
	}
	for _, name := range names {
		for _, dir := range []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"} {
			if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
				return path, nil
			}
		}
	}
	return "", fmt.Errorf("find OCI runtime: none of %v is installed (apt-get install crun)", names)
}

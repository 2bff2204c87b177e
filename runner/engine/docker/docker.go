// Package docker makes sandboxes with a Docker daemon (Docker Engine API 1.41,
// which came with 20.10, or newer). It is the only package that knows Docker.
//
// What the daemon is told of a sandbox is creel-init and nothing else: the
// command, its environment and its streams go over the control socket, so they
// are not in what docker inspect shows, in the daemon's files or in its log.
// The daemon is not trusted to have done what it was asked: the posture tells.
//
// Whatever the daemon does (absent, hanging, restarting, forgetting its
// answer), every call ends in bounded time, and a container that could not be
// removed is tried again until the daemon says that it is gone.
//
// It imports spec for what every engine must set, rootfs for the root, and
// cgroup to see and end what the daemon made. It never starts a process, never
// pulls an image, and never touches a container, image or group that does not
// carry its own label or name.
package docker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/docker/docker/api/types/system"
	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/client"
	"github.com/sirupsen/logrus"

	"github.com/creel-sandbox/creel/runner/cgroup"
	"github.com/creel-sandbox/creel/runner/engine"
)

// oldestAPI is the first version that takes a private cgroup namespace; an
// older daemon would leave it out without a word (API version history, 1.41).
const oldestAPI = "1.41"

// Config is what the engine needs to know.
type Config struct {
	Socket string // of the daemon
	// StateDir is the supervisor's; the engine makes one directory in it.
	StateDir string
	InitPath string // creel-init on this host
	// Cgroups is the part of the tree that belongs to this supervisor. With the
	// daemon's cgroupfs driver the sandboxes go into a group beside its parent.
	Cgroups *cgroup.Hierarchy
	Floor   []byte // the floor filter, in Docker's JSON
	Log     logrus.FieldLogger
	// Timeout bounds one call of the daemon; 0 is 30 seconds. A container is made
	// in a tenth of one, on a busy machine in a few.
	Timeout time.Duration
}

// Engine implements engine.Engine.
type Engine struct {
	cfg    Config
	api    *client.Client
	name   string // of this supervisor: what its label says
	groups []group
	roots  roots
	lost   lost
	looks  sync.Map // containers that are only looked into

	// negotiating is held while the daemon's version of the API is asked for.
	negotiating chan struct{}
	negotiated  atomic.Bool

	// used says that a policy has chosen Docker, and listed that a former
	// supervisor's sandboxes were looked for: the daemon of a host that has it
	// for something else is asked no more.
	used, listed atomic.Bool

	mu     sync.Mutex
	daemon *daemon // nil until it answered, and after it did not
}

var _ engine.Engine = (*Engine)(nil)

// daemon is what a daemon said of itself.
type daemon struct {
	info    system.Info
	version string // for people
	groups  group
}

// New prepares the engine. The daemon need not be there yet.
func New(cfg Config) (*Engine, error) {
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	sum := sha256.Sum256([]byte(filepath.Clean(cfg.StateDir)))
	e := &Engine{cfg: cfg, name: hex.EncodeToString(sum[:6]), negotiating: make(chan struct{}, 1)}
	if err := e.openGroups(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(e.stateDir(), 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	if err := e.writeNames(); err != nil {
		return nil, err
	}
	var err error
	e.api, err = client.NewClientWithOpts(client.WithHost("unix://"+cfg.Socket), client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, fmt.Errorf("make client of %s: %w", cfg.Socket, err)
	}
	e.lost.start(e)
	return e, nil
}

// Close removes the engine's images, groups and directory. What the daemon
// still has, if it does not answer, the next supervisor of the same state
// directory finds by its label.
func (e *Engine) Close() error {
	e.lost.stop()
	errs := []error{e.roots.close(e)}
	for _, g := range e.groups {
		errs = append(errs, g.RemoveParent())
	}
	return errors.Join(append(errs, os.RemoveAll(e.stateDir()), e.api.Close())...)
}

func (e *Engine) stateDir() string        { return filepath.Join(e.cfg.StateDir, "docker") }
func (e *Engine) dir(id string) string    { return filepath.Join(e.stateDir(), id) }
func (e *Engine) called(id string) string { return "creel-" + e.name + "-" + id }

// Version implements engine.Engine.
func (e *Engine) Version(ctx context.Context) (string, error) {
	d, err := e.known(ctx)
	if err != nil {
		return "", err
	}
	return d.version, nil
}

// answers says whether the last call was answered.
func (e *Engine) answers() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.daemon != nil
}

// known gives what the daemon says of itself, and asks again after a failure.
func (e *Engine) known(ctx context.Context) (*daemon, error) {
	e.mu.Lock()
	d := e.daemon
	e.mu.Unlock()
	if d != nil {
		return d, nil
	}
	d, err := e.ask(ctx)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	e.daemon = d
	e.mu.Unlock()
	return d, nil
}

func (e *Engine) ask(ctx context.Context) (*daemon, error) {
	var d daemon
	err := e.call(ctx, "ask for information", func(ctx context.Context) error {
		info, err := e.api.Info(ctx)
		if err != nil {
			return err
		}
		d.info = info
		d.version = fmt.Sprintf("Docker %s (API %s, %s, cgroup driver %s)",
			info.ServerVersion, e.api.ClientVersion(), info.DefaultRuntime, info.CgroupDriver)
		d.groups, err = e.groupsOf(info.CgroupDriver)
		switch {
		case info.OSType != "linux":
			err = fmt.Errorf("%w: its containers run %s", engine.ErrRefused, info.OSType)
		case versions.LessThan(e.api.ClientVersion(), oldestAPI):
			err = fmt.Errorf("%w: its API is %s, and %s (Docker 20.10) is the oldest that can", engine.ErrRefused, e.api.ClientVersion(), oldestAPI)
		case slices.ContainsFunc(info.SecurityOptions, func(o string) bool { return strings.HasPrefix(o, "name=rootless") }):
			err = fmt.Errorf("%w: it is rootless, so its containers are in namespaces that the supervisor cannot compare", engine.ErrRefused)
		}
		return err
	})
	return &d, err
}

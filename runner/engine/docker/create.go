package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"github.com/creel-sandbox/creel/runner/engine"
	"github.com/creel-sandbox/creel/runner/pidfd"
)

// Create implements engine.Engine.
func (e *Engine) Create(ctx context.Context, req engine.Request) (_ *engine.Sandbox, err error) {
	root := e.roots.of(req.Root)
	if root == nil {
		return nil, fmt.Errorf("make container: %w", errors.New("its root was not prepared by this engine"))
	}
	d, err := e.known(ctx)
	if err != nil {
		return nil, err
	}
	// Before the undo below, which must never remove another sandbox of this ID.
	if err := os.Mkdir(e.dir(req.ID), 0o711); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	defer func() {
		if err != nil {
			// The caller's context may be what ended the launch.
			err = errors.Join(err, e.Remove(context.WithoutCancel(ctx), req.ID))
		}
	}()
	listener, err := e.listen(req.ID, req.Who.UID)
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	id, err := e.makeContainer(ctx, req, root, d.groups.parent)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(e.containerPath(req.ID), []byte(id), 0o600); err != nil {
		return nil, fmt.Errorf("record container: %w", err)
	}
	return e.startContainer(ctx, req.ID, id, listener, d.groups)
}

// containerPath is where the ID of a sandbox's container is recorded: it is
// the name of its control group, and the daemon may not be there to ask.
func (e *Engine) containerPath(id string) string { return filepath.Join(e.dir(id), "container") }

func (e *Engine) makeContainer(ctx context.Context, req engine.Request, root *root, parent string) (string, error) {
	config, host, err := e.configure(req, root, parent)
	if err != nil {
		return "", err
	}
	var made container.CreateResponse
	err = e.call(ctx, "make container", func(ctx context.Context) (err error) {
		made, err = e.api.ContainerCreate(ctx, config, host, nil, nil, e.called(req.ID))
		return err
	})
	if err != nil && !answered(err) && !unsent(err) {
		e.lost.suspect() // the daemon may make it yet
	}
	if errdefs.IsNotFound(err) {
		return "", fmt.Errorf("%w (a prepared image was removed; the next launch makes it anew)", err)
	}
	return made.ID, err
}

func (e *Engine) startContainer(ctx context.Context, id, containerID string, listener *net.UnixListener, g group) (*engine.Sandbox, error) {
	var pid int
	err := e.call(ctx, "start container", func(ctx context.Context) error {
		if err := e.api.ContainerStart(ctx, containerID, container.StartOptions{}); err != nil {
			return err
		}
		state, err := e.api.ContainerInspect(ctx, containerID)
		if err == nil {
			pid = state.State.Pid
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	held, err := pidfd.Open(pid)
	if err != nil {
		return nil, fmt.Errorf("hold init: %w", err) // it has ended, and its pid is 0
	}
	bound, cancel := context.WithTimeoutCause(ctx, e.cfg.Timeout, errTimeout)
	defer cancel()
	control, err := e.accept(bound, id, listener, pid, held, g.Group(g.of(containerID)))
	if err != nil {
		held.Close()
		return nil, err
	}
	return &engine.Sandbox{ID: id, Pid: pid, Pidfd: held, Control: control, Group: g.Group(g.of(containerID))}, nil
}

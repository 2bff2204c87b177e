package docker

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"github.com/creel-sandbox/creel/runner/engine"
	"github.com/creel-sandbox/creel/runner/rootfs"
)

// checkPoints refuses an image that has a symlink where something is mounted.
// The runtime would follow it inside the sandbox and make mount points where
// it leads to, which may be in a directory of the host that is mounted there.
// Those of /dev, /proc and /sys the daemon replaces by directories itself
// (moby initlayer, setup_unix.go).
func (e *Engine) checkPoints(ctx context.Context, reference, id string, binds []rootfs.Bind) error {
	points := []string{"/tmp", rootfs.ControlTarget, "/etc/hostname"}
	for _, b := range binds {
		points = append(points, b.Target)
	}
	slices.Sort(points)
	key := id + strings.Join(points, ":")
	e.roots.mu.Lock()
	sound := e.roots.sound[key]
	e.roots.mu.Unlock()
	if sound {
		return nil
	}
	if err := e.look(ctx, reference, id, points); err != nil {
		return err
	}
	e.roots.mu.Lock()
	defer e.roots.mu.Unlock()
	if e.roots.sound == nil {
		e.roots.sound = map[string]bool{}
	}
	e.roots.sound[key] = true // an image never changes: it is named by its content
	return nil
}

// look makes a container of the image that is never started, and looks at it.
// It is no sandbox, but carries the label: should it be left, it is found.
func (e *Engine) look(ctx context.Context, reference, image string, points []string) (err error) {
	var random [6]byte
	if _, err := rand.Read(random[:]); err != nil {
		return fmt.Errorf("name container: %w", err)
	}
	id := "look" + hex.EncodeToString(random[:])
	e.looks.Store(id, true)
	defer e.looks.Delete(id)
	defer func() {
		if removeErr := e.Remove(context.WithoutCancel(ctx), id); err == nil {
			err = removeErr
		}
	}()
	var made container.CreateResponse
	err = e.call(ctx, "look into image", func(ctx context.Context) (err error) {
		made, err = e.api.ContainerCreate(ctx, &container.Config{
			Image: image, Entrypoint: []string{rootfs.InitTarget}, NetworkDisabled: true,
			Labels: map[string]string{labelSupervisor: e.name, labelSandbox: id},
		}, &container.HostConfig{NetworkMode: "none", LogConfig: container.LogConfig{Type: "none"}}, nil, nil, e.called(id))
		return err
	})
	if err != nil {
		return err
	}
	for _, point := range points {
		if err := e.lookAt(ctx, reference, made.ID, point); err != nil {
			return err
		}
	}
	return nil
}

// lookAt looks at a mount point and the directories above it.
func (e *Engine) lookAt(ctx context.Context, reference, containerID, point string) error {
	for i := 1; i <= len(point); i++ {
		if i < len(point) && point[i] != '/' {
			continue
		}
		var mode fs.FileMode
		err := e.call(ctx, "look into image", func(ctx context.Context) error {
			stat, err := e.api.ContainerStatPath(ctx, containerID, point[:i])
			mode = stat.Mode
			return err
		})
		switch {
		case errdefs.IsNotFound(err):
			return nil // nor anything below it: the runtime makes it
		case err != nil:
			return err
		case mode&fs.ModeSymlink != 0:
			return fmt.Errorf("%w: image %s has a symlink at %s, where or below which something is mounted; use an image with a directory there",
				engine.ErrRefused, reference, point[:i])
		}
	}
	return nil
}

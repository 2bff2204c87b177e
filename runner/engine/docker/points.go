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
//
// It says too whether the image has a /tmp that is not open to everyone.
func (e *Engine) checkPoints(ctx context.Context, reference, id string, binds []rootfs.Bind) (closedTmp bool, err error) {
	points := []string{"/tmp", rootfs.ControlTarget, "/etc/hostname"}
	for _, b := range binds {
		points = append(points, b.Target)
	}
	slices.Sort(points)
	key := id + strings.Join(points, ":")
	e.roots.mu.Lock()
	closedTmp, sound := e.roots.sound[key]
	e.roots.mu.Unlock()
	if sound {
		return closedTmp, nil
	}
	if closedTmp, err = e.look(ctx, reference, id, points); err != nil {
		return false, err
	}
	e.roots.mu.Lock()
	defer e.roots.mu.Unlock()
	if e.roots.sound == nil {
		e.roots.sound = map[string]bool{}
	}
	e.roots.sound[key] = closedTmp // an image never changes: it is named by its content
	return closedTmp, nil
}

// look makes a container of the image that is never started, and looks at it.
// It is no sandbox, but carries the label: should it be left, it is found.
func (e *Engine) look(ctx context.Context, reference, image string, points []string) (closedTmp bool, err error) {
	var random [6]byte
	if _, err := rand.Read(random[:]); err != nil {
		return false, fmt.Errorf("name container: %w", err)
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
		return false, err
	}
	for _, point := range points {
		mode, err := e.lookAt(ctx, reference, made.ID, point)
		if err != nil {
			return false, err
		}
		closedTmp = closedTmp || point == "/tmp" && mode != openTmp
	}
	return closedTmp, nil
}

// openTmp is the mode of a /tmp for everyone.
const openTmp = fs.ModeDir | fs.ModeSticky | 0o777

// lookAt looks at a mount point and the directories above it, and gives its
// mode; one that is missing gets the mode it should have.
func (e *Engine) lookAt(ctx context.Context, reference, containerID, point string) (mode fs.FileMode, err error) {
	for i := 1; i <= len(point); i++ {
		if i < len(point) && point[i] != '/' {
			continue
		}
		err := e.call(ctx, "look into image", func(ctx context.Context) error {
			stat, err := e.api.ContainerStatPath(ctx, containerID, point[:i])
			mode = stat.Mode
			return err
		})
		switch {
		case errdefs.IsNotFound(err):
			return openTmp, nil // nor is anything below it: the runtime makes it
		case err != nil:
			return 0, err
		case mode&fs.ModeSymlink != 0:
			return 0, fmt.Errorf("%w: image %s has a symlink at %s, where or below which something is mounted; use an image with a directory there",
				engine.ErrRefused, reference, point[:i])
		}
	}
	return mode, nil
}

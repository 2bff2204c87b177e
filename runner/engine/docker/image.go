package docker

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/image"

	"github.com/creel-sandbox/creel/runner/engine"
)

// findImage looks up the image of a policy and completes its root: with the
// image's ID, by which containers are made of it, the names of its variables,
// and what is to be known of its /tmp.
func (e *Engine) findImage(ctx context.Context, reference string, r *root) error {
	found, err := e.inspect(ctx, reference)
	digest, pinned := digestOf(reference)
	if pinned && errdefs.IsNotFound(err) {
		// One that was loaded, not pulled, is known by its ID only.
		found, err = e.inspect(ctx, digest)
	}
	if errdefs.IsNotFound(err) {
		return fmt.Errorf("image %s is not in the Docker daemon's store: run docker pull or docker load first", reference)
	}
	if err != nil {
		return err
	}
	if pinned && !is(found, digest) {
		return fmt.Errorf("image %s: the Docker daemon's is %s %v", reference, found.ID, found.RepoDigests)
	}
	if err := usable(reference, found); err != nil {
		return err
	}
	if r.closedTmp, err = e.checkPoints(ctx, reference, found.ID, r.binds); err != nil {
		return err
	}
	r.image = found.ID
	if found.Config != nil {
		for _, variable := range found.Config.Env {
			name, _, _ := strings.Cut(variable, "=")
			r.env = append(r.env, name)
		}
	}
	return nil
}

func (e *Engine) inspect(ctx context.Context, reference string) (found image.InspectResponse, err error) {
	err = e.call(ctx, "look for image", func(ctx context.Context) error {
		found, err = e.api.ImageInspect(ctx, reference)
		return err
	})
	return found, err
}

func digestOf(reference string) (string, bool) {
	_, digest, pinned := strings.Cut(reference, "@")
	return digest, pinned
}

// is says whether an image has a digest: of its manifest in a registry, or of
// its configuration, which is its ID.
func is(found image.InspectResponse, digest string) bool {
	return found.ID == digest || slices.ContainsFunc(found.RepoDigests, func(repoDigest string) bool {
		_, has, _ := strings.Cut(repoDigest, "@")
		return has == digest
	})
}

// usable refuses an image that cannot run here, or that would open a hole.
func usable(reference string, found image.InspectResponse) error {
	switch {
	case found.Os != "linux" || found.Architecture != runtime.GOARCH:
		return fmt.Errorf("image %s is for %s/%s, and this host is linux/%s", reference, found.Os, found.Architecture, runtime.GOARCH)
	case found.Config != nil && len(found.Config.Volumes) > 0:
		return fmt.Errorf("%w: image %s declares VOLUMEs, which Docker would make writable; build one without, or use the oci engine",
			engine.ErrRefused, reference)
	}
	return nil
}

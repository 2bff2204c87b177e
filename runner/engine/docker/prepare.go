package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/image"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/engine"
	"github.com/creel-sandbox/creel/runner/rootfs"
)

// repository is the name of all images that the engine makes.
const repository = "creel-root"

// root is what was prepared for one policy.
type root struct {
	key, image string
	skeleton   bool // the image is the engine's own
	binds      []rootfs.Bind
	env        []string // the names of the image's variables
	closedTmp  bool     // the image's /tmp is not for everyone
	users      int      // sandboxes being made from it, and one for the policy
}

// roots are all that was prepared.
type roots struct {
	making sync.Mutex // held while a skeleton is imported
	mu     sync.Mutex
	named  map[string]*root       // by policy
	given  map[*engine.Root]*root // to the supervisor
	stale  []string               // images to remove
	swept  bool
	// sound are the images that were looked at with what is mounted over them,
	// and whether their /tmp is closed.
	sound map[string]bool
}

// Prepare implements engine.Engine.
func (e *Engine) Prepare(ctx context.Context, p *policy.Policy, who rootfs.Identity) (*engine.Root, error) {
	if p.UserNamespace != policy.UserNamespaceOff {
		return nil, fmt.Errorf("%w: Docker has no user namespace for each container; say 'userNamespace: off' in the policy, or use the oci engine", engine.ErrRefused)
	}
	if p.Scope == policy.ScopeSession {
		return nil, fmt.Errorf("%w: Docker keeps no /tmp from one container to the next; say 'scope: command', or use the oci engine", engine.ErrRefused)
	}
	e.used.Store(true)
	bundle, err := rootfs.OpenBundle(p, who, e.cfg.InitPath, points)
	if err != nil {
		return nil, err
	}
	defer bundle.Close()
	for _, b := range bundle.Binds {
		if !utf8.ValidString(b.Source + b.Target) {
			return nil, fmt.Errorf("%w: %q is not UTF-8, as its API demands", engine.ErrRefused, b.Source)
		}
	}
	if _, err := e.known(ctx); err != nil {
		return nil, err
	}
	if err := e.coverNames(bundle, p.Root); err != nil {
		return nil, err
	}
	r := &root{key: bundle.Key, binds: bundle.Binds, users: 1}
	if p.Root.Image != "" {
		if err := e.findImage(ctx, p.Root.Image, r); err != nil {
			return nil, err
		}
	} else if r, err = e.skeleton(ctx, p.Name, bundle); err != nil {
		return nil, err
	}
	return e.roots.give(e, r, bundle.View), nil
}

// skeleton gives the root of a policy, made anew when anything it is made of
// has changed, or when somebody has removed the image.
func (e *Engine) skeleton(ctx context.Context, name string, bundle *rootfs.Bundle) (*root, error) {
	e.roots.making.Lock()
	defer e.roots.making.Unlock()
	if r := e.roots.take(name, bundle.Key); r != nil {
		err := e.call(ctx, "look for image", func(ctx context.Context) error {
			_, err := e.api.ImageInspect(ctx, r.image)
			return err
		})
		if err == nil {
			return r, nil
		}
		e.roots.release(e, r)
		if !errdefs.IsNotFound(err) {
			return nil, err
		}
	}
	e.sweepImages(ctx)
	archive, err := bundle.Skeleton()
	if err != nil {
		return nil, err
	}
	r := &root{key: bundle.Key, binds: bundle.Binds, skeleton: true, users: 2}
	if r.image, err = e.importImage(ctx, archive, bundle.Key); err != nil {
		return nil, err
	}
	e.roots.replace(e, name, r)
	return r, nil
}

// importImage makes an image of an archive and gives its ID.
func (e *Engine) importImage(ctx context.Context, archive []byte, key string) (string, error) {
	var id string
	err := e.call(ctx, "import root", func(ctx context.Context) error {
		answer, err := e.api.ImageImport(ctx,
			image.ImportSource{Source: bytes.NewReader(archive), SourceName: "-"},
			repository+":"+e.name+"-"+key[:12],
			image.ImportOptions{Changes: []string{"LABEL " + labelSupervisor + "=" + e.name}})
		if err != nil {
			return err
		}
		defer answer.Close()
		id, err = lastStatus(io.LimitReader(answer, 1<<20))
		return err
	})
	return id, err
}

// lastStatus reads the messages of an import, the last of which is the ID.
func lastStatus(r io.Reader) (string, error) {
	decoder := json.NewDecoder(r)
	var status string
	for {
		var message struct{ Status, Error string }
		switch err := decoder.Decode(&message); {
		case errors.Is(err, io.EOF) && strings.HasPrefix(status, "sha256:"):
			return status, nil
		case err != nil:
			return "", fmt.Errorf("read answer: %w", err)
		case message.Error != "":
			return "", fmt.Errorf("%w: %s", errdefs.ErrInternal, message.Error)
		}
		status = message.Status
	}
}

// sweepImages removes, once, the images that a killed supervisor left. One whose
// import the daemon went on with has lost its name since to a later one.
func (e *Engine) sweepImages(ctx context.Context) {
	e.roots.mu.Lock()
	swept := e.roots.swept
	e.roots.swept = true
	e.roots.mu.Unlock()
	if swept {
		return
	}
	err := e.call(ctx, "list images", func(ctx context.Context) error {
		found, err := e.api.ImageList(ctx, image.ListOptions{
			Filters: filters.NewArgs(filters.Arg("label", labelSupervisor+"="+e.name)),
		})
		e.roots.mu.Lock()
		defer e.roots.mu.Unlock()
		for _, i := range found {
			if imported(i) {
				e.roots.stale = append(e.roots.stale, i.ID)
			}
		}
		return err
	})
	if err != nil {
		e.cfg.Log.WithError(err).Warn("images that a former supervisor left are still there")
	}
	e.roots.removeStale(e)
}

// imported says whether an image is as importImage made it: no commit of a
// sandbox, which has its labels, and nothing that somebody gave a name of his own.
func imported(i image.Summary) bool {
	return i.Labels[labelSandbox] == "" && !slices.ContainsFunc(i.RepoTags, func(tag string) bool {
		return tag != "<none>:<none>" && !strings.HasPrefix(tag, repository+":")
	})
}

// take gives what is prepared for a policy, if it is still what is wanted.
func (r *roots) take(name, key string) *root {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := r.named[name]
	if found == nil || found.key != key {
		return nil
	}
	found.users++
	return found
}

// replace makes a root that of its policy.
func (r *roots) replace(e *Engine, name string, with *root) {
	r.mu.Lock()
	old := r.named[name]
	if r.named == nil {
		r.named = map[string]*root{}
	}
	r.named[name] = with
	r.mu.Unlock()
	r.release(e, old)
}

func (r *roots) give(e *Engine, from *root, view rootfs.View) *engine.Root {
	given := &engine.Root{View: view, Image: from.image}
	given.Release = func() error {
		r.mu.Lock()
		held := r.given[given] != nil
		delete(r.given, given)
		r.mu.Unlock()
		if held {
			r.release(e, from)
		}
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.given == nil {
		r.given = map[*engine.Root]*root{}
	}
	r.given[given] = from
	return given
}

// of gives what was prepared for a root that the supervisor holds.
func (r *roots) of(given *engine.Root) *root {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.given[given]
}

// release drops one use; the last one of the engine's own image removes it.
func (r *roots) release(e *Engine, used *root) {
	if used == nil {
		return
	}
	r.mu.Lock()
	used.users--
	if last := used.users == 0 && used.skeleton; last && !r.inUse(used.image) {
		r.stale = append(r.stale, used.image)
	}
	r.mu.Unlock()
	r.removeStale(e)
}

// inUse says whether an image is that of any policy: what is imported twice
// has one ID only by chance, but is one image then.
func (r *roots) inUse(id string) bool {
	for _, other := range r.named {
		if other.image == id {
			return true
		}
	}
	return false
}

// removeStale removes the images that are not used any more. One that a
// container still has is a conflict, and tried again at the next occasion.
func (r *roots) removeStale(e *Engine) error {
	r.mu.Lock()
	ids := r.stale
	r.stale = nil
	r.mu.Unlock()
	ctx, cancel := context.WithTimeoutCause(context.Background(), removeTimeout, errTimeout)
	defer cancel()
	for i, id := range ids {
		err := e.call(ctx, "remove image", func(ctx context.Context) error {
			_, err := e.api.ImageRemove(ctx, id, image.RemoveOptions{Force: true, PruneChildren: true})
			return err
		})
		if err == nil || errdefs.IsNotFound(err) {
			continue
		}
		r.mu.Lock()
		r.stale = append(r.stale, ids[i:]...)
		r.mu.Unlock()
		return err
	}
	return nil
}

// Keep implements engine.Engine.
func (e *Engine) Keep(policies []string) error {
	e.roots.mu.Lock()
	var dropped []*root
	for name, r := range e.roots.named {
		if !slices.Contains(policies, name) {
			delete(e.roots.named, name)
			dropped = append(dropped, r)
		}
	}
	e.roots.mu.Unlock()
	for _, r := range dropped {
		e.roots.release(e, r)
	}
	return nil
}

// close removes every image.
func (r *roots) close(e *Engine) error {
	if err := e.Keep(nil); err != nil {
		return err
	}
	return r.removeStale(e)
}

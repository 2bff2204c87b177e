package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/distribution/reference"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"

	"github.com/creel-sandbox/creel/runner/image"
)

// parallel is how many layers are downloaded at once, as by Docker.
const parallel = 3

// Pull gets an image from the registry that its reference names. Credentials
// are those of the user's Docker configuration.
func Pull(ctx context.Context, text string, o Options) (*Result, error) {
	r, err := newOrigin(text, o)
	if err != nil {
		return nil, err
	}
	w, err := o.Store.Write(ctx, o.Progress.Wait)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	p, err := r.describe(ctx)
	if err != nil {
		return nil, err
	}
	if has, err := w.Has(p.id); err != nil || has {
		if err != nil {
			return nil, err
		}
		return p.name(w, o)
	}
	draft, err := w.Draft()
	if err != nil {
		return nil, err
	}
	defer draft.Close()
	return r.download(ctx, p, w, draft)
}

// origin is one repository, seen from a pull.
type origin struct {
	options    Options
	puller     *remote.Puller
	wanted     name.Reference
	repository reference.Named
	manifest   *v1.Manifest
}

func newOrigin(text string, o Options) (*origin, error) {
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return nil, fmt.Errorf("read image reference %q: %w", text, err)
	}
	r := &origin{options: o, repository: reference.TrimNamed(named)}
	full := reference.TagNameOnly(named).String()
	if digested, ok := named.(reference.Digested); ok { // the tag beside a digest says nothing
		full = named.Name() + "@" + digested.Digest().String()
	}
	if r.wanted, err = name.ParseReference(full, name.StrictValidation); err != nil {
		return nil, fmt.Errorf("read image reference %q: %w", text, err)
	}
	once := remote.Backoff{Steps: 1} // what fails is tried again here, by again
	r.puller, err = remote.NewPuller(remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithRetryBackoff(once),
		remote.WithTransport(newTransport()), remote.WithUserAgent("creel"))
	if err != nil {
		return nil, fmt.Errorf("prepare to pull: %w", err)
	}
	return r, nil
}

// describe gets index, manifest and configuration.
func (r *origin) describe(ctx context.Context) (*picture, error) {
	found, err := r.document(ctx, r.wanted)
	if err != nil {
		return nil, err
	}
	var names []string
	if tag, ok := r.wanted.(name.Tag); ok {
		names = append(names, r.repository.Name()+":"+tag.TagStr())
	}
	names = append(names, r.repository.Name()+"@"+digestOf(found.Manifest))
	if found.MediaType.IsIndex() {
		chosen, err := choose(found.Manifest)
		if err != nil {
			return nil, err
		}
		if found, err = r.document(ctx, r.wanted.Context().Digest(chosen.Digest.String())); err != nil {
			return nil, err
		}
		names = append(names, r.repository.Name()+"@"+digestOf(found.Manifest))
	}
	if !found.MediaType.IsImage() {
		return nil, fmt.Errorf("it is no container image, but a %.100q", found.MediaType)
	}
	if r.manifest, err = parseManifest(found.Manifest, r.options.Limits); err != nil {
		return nil, err
	}
	var config []byte
	err = r.again(ctx, func(ctx context.Context) error {
		config, err = r.config(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	return newPicture(config, names, r.options.Limits)
}

// document gets a manifest or an index, by its digest where there is one.
func (r *origin) document(ctx context.Context, ref name.Reference) (found *remote.Descriptor, err error) {
	err = r.again(ctx, func(ctx context.Context) error {
		found, err = r.puller.Get(ctx, ref)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("get manifest of %s: %w", ref, err)
	}
	if len(found.Manifest) > maxDocument {
		return nil, fmt.Errorf("get manifest of %s: it has more than %d bytes", ref, maxDocument)
	}
	if digest, ok := ref.(name.Digest); ok {
		hash, err := v1.NewHash(digest.DigestStr())
		if err != nil {
			return nil, fmt.Errorf("read digest of %s: %w", ref, err)
		}
		if err := checkDocument("manifest", found.Manifest, v1.Descriptor{Digest: hash}); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func (r *origin) config(ctx context.Context) ([]byte, error) {
	body, err := r.blob(ctx, r.manifest.Config)
	if err != nil {
		return nil, fmt.Errorf("get configuration: %w", err)
	}
	defer body.Close()
	data, err := readDocument("configuration", body)
	if err != nil {
		return nil, err
	}
	return data, checkDocument("configuration", data, r.manifest.Config)
}

func (r *origin) blob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	layer, err := r.puller.Layer(ctx, r.wanted.Context().Digest(d.Digest.String()))
	if err != nil {
		return nil, err
	}
	return layer.Compressed()
}

// download gets the layers, a few at a time, and unpacks each as soon as it
// and all below it are there. Only verified bytes are unpacked.
func (r *origin) download(ctx context.Context, p *picture, w *image.Writer, draft *image.Draft) (*Result, error) {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(parallel + 1) // and the unpacking
	blobs := map[v1.Hash]*blob{}
	var order []*blob
	err := p.withLayers(r.manifest.Layers, func(i int, d v1.Descriptor) layer {
		b := blobs[d.Digest]
		if b == nil {
			b = &blob{Descriptor: d, path: filepath.Join(draft.Path, "blob-"+strconv.Itoa(i)), ready: make(chan struct{})}
			blobs[d.Digest] = b
			order = append(order, b)
		}
		b.users++
		return layer{open: b.open, done: b.done}
	})
	if err != nil {
		return nil, err
	}
	var result *Result
	group.Go(func() (err error) {
		result, err = p.keep(groupCtx, w, draft, r.options)
		return err
	})
	for _, b := range order {
		group.Go(func() error {
			if groupCtx.Err() != nil {
				return nil // the first error is the one to tell
			}
			if err := r.save(groupCtx, b); err != nil {
				return fmt.Errorf("download layer %s: %w", short(b.Digest.String()), err)
			}
			close(b.ready)
			return nil
		})
	}
	err = group.Wait()
	if cause := context.Cause(ctx); err != nil && cause != nil && errors.Is(err, context.Canceled) {
		err = cause
	}
	return result, err
}

// blob is a layer as the registry has it, in a file of the draft.
type blob struct {
	v1.Descriptor
	path  string
	ready chan struct{} // closed once the file is whole and verified
	users int           // layers that are yet to be unpacked from it
}

func (b *blob) open(ctx context.Context) (io.ReadCloser, error) {
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-b.ready:
		return os.Open(b.path)
	}
}

// done frees the disk early; what stays goes with the draft.
func (b *blob) done() {
	if b.users--; b.users == 0 {
		_ = os.Remove(b.path)
	}
}

// save downloads a blob to its file.
func (r *origin) save(ctx context.Context, b *blob) error {
	step := r.options.Progress.Start("download "+short(b.Digest.String()), b.Size)
	defer step.Done()
	return r.again(ctx, func(ctx context.Context) error {
		step.Restart()
		body, err := r.blob(ctx, b.Descriptor)
		if err != nil {
			return err
		}
		defer body.Close()
		f, err := os.OpenFile(b.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return permanent{err}
		}
		defer f.Close()
		_, err = io.Copy(diskWriter{f}, newVerifier(&counter{body, step}, b.Descriptor))
		return err
	})
}

// diskWriter marks errors of the disk, which do not go away by themselves.
type diskWriter struct{ f *os.File }

func (d diskWriter) Write(p []byte) (int, error) {
	n, err := d.f.Write(p)
	if err != nil {
		err = permanent{err}
	}
	return n, err
}

// short is enough of a digest for people.
func short(digest string) string {
	_, hex, _ := strings.Cut(digest, ":")
	return hex[:min(len(hex), 12)]
}

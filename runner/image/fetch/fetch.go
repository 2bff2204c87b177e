// Package fetch brings images into the store: from a registry, or from an
// archive or layout on this machine. Whatever it is told, it verifies: the
// manifest by the digest it was asked for, the configuration and the layers
// by the digests of the manifest, and the content of the layers by those of
// the configuration.
//
// It may import go-containerregistry, and never unpacks anything itself or
// keeps an image of which a part was not verified.
package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/creel-sandbox/creel/runner/image"
	"github.com/creel-sandbox/creel/runner/image/unpack"
)

// Limits bound what one image may take. Zero values allow nothing.
type Limits struct {
	Unpack   unpack.Limits
	Download int64 // bytes of the compressed layers, or of an archive
	Layers   int
}

// DefaultLimits are generous for an image of tools, and keep a disk from
// being filled by mistake.
func DefaultLimits() Limits {
	return Limits{Unpack: unpack.Limits{Bytes: 16 << 30, Entries: 1_000_000}, Download: 8 << 30, Layers: 256}
}

// maxDocument bounds a manifest, an index or a configuration, in bytes.
const maxDocument = 8 << 20

// Progress is told how far the work is. Its methods may be called
// concurrently.
type Progress interface {
	// Start begins a step of total bytes.
	Start(what string, total int64) Step
	// Wait says that another process changes the store, and is waited for.
	Wait()
}

// Step is one part of the work.
type Step interface {
	Advance(bytes int64)
	Restart()
	Done()
}

// Options are common to Pull and Import.
type Options struct {
	Store    *image.Store
	Limits   Limits
	Progress Progress
	// Retry is how long the first of a few repetitions waits; each next one
	// waits twice as long. Default one second.
	Retry time.Duration
}

// Result is an image that is in the store now.
type Result struct {
	image.Info
	// Pin is what a policy can name it by, with the name it was asked for by.
	Pin string
	// New is false when the store already had the image.
	New bool
	// Skipped names devices, FIFOs and sockets that were left out.
	Skipped []string
}

// picture is an image whose configuration is known and verified.
type picture struct {
	names  []string // references that it gets
	id     string
	config *v1.ConfigFile
	layers []layer
}

// layer gives the bytes of a layer, once it is ready.
type layer struct {
	diffID string
	size   int64 // in bytes, as it is stored
	open   func(context.Context) (io.ReadCloser, error)
	// done is called when it is unpacked.
	done func()
}

// newPicture checks a configuration against the limits and this machine.
func newPicture(config []byte, names []string, limits Limits) (*picture, error) {
	file, err := v1.ParseConfigFile(bytes.NewReader(config))
	if err != nil {
		return nil, fmt.Errorf("read configuration of image: %w", err)
	}
	p := &picture{names: names, id: digestOf(config), config: file}
	if file.OS != "linux" || file.Architecture != runtime.GOARCH {
		return nil, fmt.Errorf("the image is for %q on %q, and this machine is linux on %s", file.OS, file.Architecture, runtime.GOARCH)
	}
	if n := len(file.RootFS.DiffIDs); n > limits.Layers {
		return nil, fmt.Errorf("the image has %d layers, of at most %d", n, limits.Layers)
	}
	return p, nil
}

// keep unpacks an image into the draft, and makes it one of the store.
func (p *picture) keep(ctx context.Context, w *image.Writer, draft *image.Draft, o Options) (*Result, error) {
	tree := unpack.New(draft.Root, o.Limits.Unpack)
	defer tree.Close()
	for i, l := range p.layers {
		step := o.Progress.Start(fmt.Sprintf("unpack layer %d of %d", i+1, len(p.layers)), 2*l.size)
		err := tree.Layer(ctx, l.diffID, func() (io.ReadCloser, error) {
			r, err := l.open(ctx)
			if err != nil {
				return nil, err
			}
			return &counter{r, step}, nil
		})
		step.Done()
		if err != nil {
			return nil, fmt.Errorf("layer %d of %d: %w", i+1, len(p.layers), err)
		}
		if l.done != nil {
			l.done()
		}
	}
	info := image.Info{ID: p.id, Architecture: p.config.Architecture, Created: p.config.Created.UTC(), Unpacked: time.Now().UTC().Truncate(time.Second)}
	info.Size, info.Entries = tree.Size()
	if err := draft.Commit(info); err != nil {
		return nil, err
	}
	result, err := p.name(w, o)
	if err != nil {
		return nil, err
	}
	result.New, result.Skipped = true, tree.Skipped()
	return result, nil
}

// name gives an image of the store its names.
func (p *picture) name(w *image.Writer, o Options) (*Result, error) {
	if err := w.Name(p.id, p.names...); err != nil {
		return nil, err
	}
	held, err := o.Store.Resolve(p.id)
	if err != nil {
		return nil, fmt.Errorf("look for the image: %w", err)
	}
	asked := image.Info{ID: p.id, Names: p.names}
	return &Result{Info: held.Info, Pin: asked.Pin()}, held.Release()
}

// counter reports what is read.
type counter struct {
	io.ReadCloser
	step Step
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.step.Advance(int64(n))
	return n, err
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// checkDocument verifies a small file by its descriptor.
func checkDocument(what string, data []byte, wanted v1.Descriptor) error {
	if got := digestOf(data); got != wanted.Digest.String() {
		return fmt.Errorf("verify %s: it is %s, not %s", what, got, wanted.Digest)
	}
	return nil
}

// readDocument reads a small file that must not be larger than it says.
func readDocument(what string, from io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(from, maxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	if len(data) > maxDocument {
		return nil, fmt.Errorf("read %s: it has more than %d bytes", what, maxDocument)
	}
	return data, nil
}

// parseManifest checks what the rest relies on: SHA-256, sizes, and layers as
// the limits allow.
func parseManifest(data []byte, limits Limits) (*v1.Manifest, error) {
	m, err := v1.ParseManifest(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	if m.Config.MediaType != "" && !m.Config.MediaType.IsConfig() {
		return nil, fmt.Errorf("it is no container image, but a %.100q", m.Config.MediaType)
	}
	if len(m.Layers) > limits.Layers {
		return nil, fmt.Errorf("the image has %d layers, of at most %d", len(m.Layers), limits.Layers)
	}
	total := int64(0)
	for _, d := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		if d.Digest.Algorithm != "sha256" || len(d.Digest.Hex) != 64 {
			return nil, fmt.Errorf("read manifest: digest %.100q is not of SHA-256", d.Digest.String())
		}
		if d.Size < 0 || d.Size > limits.Download || total > limits.Download-d.Size {
			return nil, &unpack.LimitError{What: "bytes to download", Limit: limits.Download}
		}
		total += d.Size
	}
	if m.Config.Size > maxDocument {
		return nil, fmt.Errorf("read manifest: its configuration has %d bytes, of at most %d", m.Config.Size, maxDocument)
	}
	return m, nil
}

// choose finds the manifest for this machine in an index.
func choose(data []byte) (*v1.Descriptor, error) {
	index, err := v1.ParseIndexManifest(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("read index: %w", err)
	}
	for i, d := range index.Manifests {
		if p := d.Platform; p != nil && p.OS == "linux" && p.Architecture == runtime.GOARCH && !d.MediaType.IsIndex() {
			return &index.Manifests[i], nil
		}
	}
	if len(index.Manifests) == 1 && index.Manifests[0].Platform == nil && !index.Manifests[0].MediaType.IsIndex() {
		return &index.Manifests[0], nil
	}
	return nil, fmt.Errorf("there is no image for linux on %s among the %d of the index", runtime.GOARCH, len(index.Manifests))
}

// withLayers joins the layers of the manifest with the digests that the
// configuration has of their content.
func (p *picture) withLayers(descriptors []v1.Descriptor, open func(i int, d v1.Descriptor) layer) error {
	ids := p.config.RootFS.DiffIDs
	if len(ids) != len(descriptors) {
		return errors.New("the image's manifest and configuration have different numbers of layers")
	}
	for i, d := range descriptors {
		l := open(i, d)
		l.diffID, l.size = ids[i].String(), d.Size
		p.layers = append(p.layers, l)
	}
	return nil
}

package fetch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Import gets an image from a docker-archive (docker save), or from an OCI
// layout in a directory or a tar archive. Path "-" means stdin. name is the
// image's name among several, and the name to give to one that has another or
// none.
func Import(ctx context.Context, path, name string, stdin io.Reader, o Options) (*Result, error) {
	if name != "" {
		if _, err := taggedName(name); err != nil {
			return nil, err
		}
	}
	w, err := o.Store.Write(ctx, o.Progress.Wait)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	draft, err := w.Draft()
	if err != nil {
		return nil, err
	}
	defer draft.Close()
	files, err := openArchive(ctx, path, stdin, draft.Path, o)
	if err != nil {
		return nil, err
	}
	defer files.Close()
	p, err := describe(files, name, o.Limits)
	if err != nil {
		return nil, err
	}
	if has, err := w.Has(p.id); err != nil || has {
		if err != nil {
			return nil, err
		}
		return p.name(w, o)
	}
	return p.keep(ctx, w, draft, o)
}

// describe goes by what is there. What docker save writes since version 25 is
// both; its manifest.json is the better, since only that has full names.
func describe(files archive, name string, limits Limits) (*picture, error) {
	switch {
	case files.has("manifest.json"):
		return describeDocker(files, name, limits)
	case files.has("index.json"):
		return describeLayout(files, name, limits)
	}
	return nil, errors.New("it is neither a docker-archive (there is no manifest.json) nor an OCI layout (there is no index.json)")
}

// saved is an element of a docker-archive's manifest.json (moby, image/tarexport).
type saved struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func describeDocker(files archive, name string, limits Limits) (*picture, error) {
	data, err := documentOf(files, "manifest.json")
	if err != nil {
		return nil, err
	}
	var images []saved
	if err := json.Unmarshal(data, &images); err != nil {
		return nil, fmt.Errorf("read manifest.json: %w", err)
	}
	found, names, err := selectImage(images, name, func(s saved) []string { return s.RepoTags })
	if err != nil {
		return nil, err
	}
	config, err := documentOf(files, found.Config)
	if err != nil {
		return nil, err
	}
	p, err := newPicture(config, names, limits)
	if err != nil {
		return nil, err
	}
	var descriptors []v1.Descriptor
	for _, file := range found.Layers {
		size, err := files.size(file)
		if err != nil {
			return nil, err
		}
		descriptors = append(descriptors, v1.Descriptor{Size: size})
	}
	return p, p.withLayers(descriptors, func(i int, _ v1.Descriptor) layer {
		return layer{open: func(context.Context) (io.ReadCloser, error) { return files.open(found.Layers[i]) }}
	})
}

// Where an OCI layout has the name of an image: containerd and BuildKit write
// the first in full, and the specification's own is often a tag alone.
const (
	fullNameKey = "io.containerd.image.name"
	refNameKey  = "org.opencontainers.image.ref.name"
)

func describeLayout(files archive, name string, limits Limits) (*picture, error) {
	data, err := documentOf(files, "index.json")
	if err != nil {
		return nil, err
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("read index.json: %w", err)
	}
	entries := index.Manifests
	if name == "" && len(entries) > 1 { // one image for several machines
		if one, err := choose(data); err == nil && named(entries) == 0 {
			entries = []v1.Descriptor{*one}
		}
	}
	found, names, err := selectImage(entries, name, layoutNames)
	if err != nil {
		return nil, err
	}
	manifest, names, err := layoutManifest(files, found, names)
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(manifest, limits)
	if err != nil {
		return nil, err
	}
	config, err := verified(files, "configuration", &m.Config)
	if err != nil {
		return nil, err
	}
	p, err := newPicture(config, names, limits)
	if err != nil {
		return nil, err
	}
	return p, p.withLayers(m.Layers, func(_ int, d v1.Descriptor) layer {
		return layer{open: func(context.Context) (io.ReadCloser, error) {
			file, err := files.open(blobPath(d.Digest))
			if err != nil {
				return nil, err
			}
			return struct {
				io.Reader
				io.Closer
			}{newVerifier(file, d), file}, nil
		}}
	})
}

// layoutManifest reads the manifest of an image, if need be the one for this
// machine of its index, and adds the names by their digests.
func layoutManifest(files archive, found *v1.Descriptor, names []string) ([]byte, []string, error) {
	repository, err := repositoryOf(names)
	if err != nil {
		return nil, nil, err
	}
	data, err := verified(files, "manifest", found)
	if err != nil {
		return nil, nil, err
	}
	names = append(names, repository+"@"+found.Digest.String())
	if !found.MediaType.IsIndex() {
		return data, names, nil
	}
	if found, err = choose(data); err != nil {
		return nil, nil, err
	}
	if data, err = verified(files, "manifest", found); err != nil {
		return nil, nil, err
	}
	return data, append(names, repository+"@"+found.Digest.String()), nil
}

func named(entries []v1.Descriptor) int {
	n := 0
	for _, d := range entries {
		n += len(layoutNames(d))
	}
	return n
}

func layoutNames(d v1.Descriptor) []string {
	if name := d.Annotations[fullNameKey]; name != "" {
		return []string{name}
	}
	if name := d.Annotations[refNameKey]; strings.ContainsAny(name, "/:") {
		return []string{name}
	}
	return nil
}

// selectImage finds the one image that is meant, and the names it gets. An
// image that is alone may be given any name.
func selectImage[T any](images []T, name string, namesOf func(T) []string) (*T, []string, error) {
	wanted := ""
	if name != "" {
		var err error
		if wanted, err = taggedName(name); err != nil {
			return nil, nil, err
		}
	}
	var all []string
	for i := range images {
		var names []string
		for _, text := range namesOf(images[i]) {
			full, err := taggedName(text)
			if err != nil {
				return nil, nil, err
			}
			names, all = append(names, full), append(all, text)
			if full == wanted {
				return &images[i], []string{wanted}, nil
			}
		}
		if len(images) == 1 && wanted == "" && len(names) > 0 {
			return &images[i], names, nil
		}
	}
	switch {
	case len(images) == 1 && wanted != "":
		return &images[0], []string{wanted}, nil
	case len(images) == 1:
		return nil, nil, errors.New("the image has no name; give it one with --name")
	}
	return nil, nil, fmt.Errorf("there are %d images: say which with --name, one of %.1000q", len(images), all)
}

// taggedName is the canonical NAME:TAG of a reference without a digest.
func taggedName(text string) (string, error) {
	named, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return "", fmt.Errorf("read image name %.200q: %w", text, err)
	}
	if _, ok := named.(reference.Digested); ok {
		return "", fmt.Errorf("image name %.200q has a digest; a name is NAME:TAG", text)
	}
	return reference.TagNameOnly(named).String(), nil
}

func repositoryOf(names []string) (string, error) {
	named, err := reference.ParseNormalizedNamed(names[0])
	if err != nil {
		return "", fmt.Errorf("read image name: %w", err)
	}
	return named.Name(), nil
}

func blobPath(digest v1.Hash) string { return "blobs/" + digest.Algorithm + "/" + digest.Hex }

// verified reads a small blob of a layout.
func verified(files archive, what string, wanted *v1.Descriptor) ([]byte, error) {
	data, err := documentOf(files, blobPath(wanted.Digest))
	if err != nil {
		return nil, err
	}
	return data, checkDocument(what, data, *wanted)
}

func documentOf(files archive, name string) ([]byte, error) {
	f, err := files.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readDocument(name, f)
}

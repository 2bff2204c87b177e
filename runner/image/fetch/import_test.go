package fetch

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// docker is an archive as docker save writes it, before version 25: with
// plain layers, and links for those that are the same.
func docker(t testing.TB, m *made, layer []byte, manifest any, more ...tar.Header) []byte {
	t.Helper()
	return files(t, append([]tar.Header{
		file("config.json", string(encode(t, m.config))), file("one/layer.tar", string(layer)),
		file("manifest.json", string(encode(t, manifest))),
	}, more...)...)
}

// layout writes an OCI layout with images of those names; "" has none.
func layout(t testing.TB, images map[string]*made) string {
	t.Helper()
	dir := t.TempDir()
	check(t, os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755))
	write := func(data []byte) v1.Descriptor {
		hash := hashOf(t, data)
		check(t, os.WriteFile(filepath.Join(dir, blobPath(hash)), data, 0o644))
		return v1.Descriptor{Digest: hash, Size: int64(len(data))}
	}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	for name, m := range images {
		for _, blob := range append([][]byte{m.configData}, m.layers...) {
			write(blob)
		}
		d := write(encode(t, m.manifest))
		d.MediaType = m.manifest.MediaType
		if name != "" {
			d.Annotations = map[string]string{fullNameKey: name, refNameKey: "1"}
		}
		index.Manifests = append(index.Manifests, d)
	}
	check(t, os.WriteFile(filepath.Join(dir, "index.json"), encode(t, index), 0o644))
	return dir
}

func packed(t testing.TB, dir string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	check(t, w.AddFS(os.DirFS(dir)))
	check(t, w.Close())
	return out.Bytes()
}

func (r *rig) load(data []byte, name string) (*Result, error) {
	r.t.Helper()
	path := filepath.Join(r.outer, "archive")
	check(r.t, os.WriteFile(path, data, 0o644))
	return Import(r.t.Context(), path, name, nil, r.Options)
}

func TestImportedImageIsTheOneInTheArchive(t *testing.T) {
	layer := files(t, file("a", "a"))
	m := makeImage(t, nil, layer)
	plain := []saved{{Config: "config.json", RepoTags: []string{"own/tools:1"}, Layers: []string{"one/layer.tar"}}}
	archive := docker(t, m, layer, plain)
	digest := digestOf(encode(t, m.manifest))
	dir := layout(t, map[string]*made{"own/tools:1": m})
	for name, run := range map[string]func(*rig) (*Result, error){
		"docker-archive":            func(r *rig) (*Result, error) { return r.load(archive, "") },
		"docker-archive, gzip":      func(r *rig) (*Result, error) { return r.load(gzipped(t, archive), "") },
		"docker-archive from stdin": func(r *rig) (*Result, error) { return importFrom(r, bytes.NewReader(archive)) },
		"docker-archive with links": func(r *rig) (*Result, error) {
			linked := []saved{{Config: "./config.json", RepoTags: []string{"own/tools:1"}, Layers: []string{"two/layer.tar"}}}
			return r.load(docker(t, m, layer, linked, tar.Header{Name: "two/layer.tar", Typeflag: tar.TypeSymlink, Linkname: "../one/layer.tar"}), "")
		},
		"layout":            func(r *rig) (*Result, error) { return Import(t.Context(), dir, "", nil, r.Options) },
		"layout in tar":     func(r *rig) (*Result, error) { return r.load(packed(t, dir), "") },
		"layout from stdin": func(r *rig) (*Result, error) { return importFrom(r, bytes.NewReader(packed(t, dir))) },
		"layout, renamed": func(r *rig) (*Result, error) {
			return Import(t.Context(), layout(t, map[string]*made{"": m}), "own/tools:1", nil, r.Options)
		},
	} {
		r := newRig(t)
		result, err := run(r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := "own/tools@" + m.id()
		if strings.HasPrefix(name, "layout") {
			want = "own/tools@" + digest
		}
		if result.Pin != want || result.ID != m.id() || !result.New {
			t.Errorf("%s: got %+v, want %s", name, result, want)
		}
		for _, reference := range []string{"own/tools:1", result.Pin, "own/tools@" + m.id()} {
			if got := r.content(reference, "a"); got != "a" {
				t.Errorf("%s: %s has %q", name, reference, got)
			}
		}
	}
}

func importFrom(r *rig, stdin io.Reader) (*Result, error) {
	return Import(r.t.Context(), "-", "", stdin, r.Options)
}

func TestOneOfSeveralImagesIsNamed(t *testing.T) {
	layer, other := files(t, file("a", "first")), files(t, file("a", "second"))
	first, second := makeImage(t, nil, layer), makeImage(t, nil, other)
	archive := files(t, file("1.json", string(first.configData)), file("2.json", string(second.configData)), file("1.tar", string(layer)), file("2.tar", string(other)),
		file("manifest.json", string(encode(t, []saved{{"1.json", []string{"a:1", "a:latest"}, []string{"1.tar"}}, {"2.json", []string{"b:1"}, []string{"2.tar"}}}))))
	for _, data := range [][]byte{archive, packed(t, layout(t, map[string]*made{"a:1": first, "b:1": second}))} {
		r := newRig(t)
		for _, name := range []string{"", "c:1", "b:2"} {
			if _, err := r.load(data, name); err == nil || !strings.Contains(err.Error(), "there are 2 images") {
				t.Errorf("%q: %v", name, err)
			}
			r.wantEmpty(name)
		}
		_, err := r.load(data, "b:1")
		check(t, err)
		if got := r.content("b:1", "a"); got != "second" {
			t.Errorf("b:1 has %q", got)
		}
	}
}

func TestDamagedArchiveIsRefusedAndLeavesNothing(t *testing.T) {
	layer := files(t, file("a", "a"))
	m := makeImage(t, nil, layer)
	good := []saved{{Config: "config.json", RepoTags: []string{"a:1"}, Layers: []string{"one/layer.tar"}}}
	of := func(change func(*saved)) []saved {
		s := good[0]
		change(&s)
		return []saved{s}
	}
	loop := tar.Header{Name: "loop", Typeflag: tar.TypeSymlink, Linkname: "loop"}
	spoiled := func(path string, data string) []byte {
		dir := layout(t, map[string]*made{"a:1": m})
		check(t, os.WriteFile(filepath.Join(dir, path), []byte(data), 0o644))
		return packed(t, dir)
	}
	for name, data := range map[string][]byte{
		"empty":                   nil,
		"no archive":              []byte(strings.Repeat("no archive", 100)),
		"neither":                 files(t, file("a", "a")),
		"truncated":               docker(t, m, layer, good)[:4000],
		"no JSON":                 files(t, file("manifest.json", "[")),
		"no image":                files(t, file("manifest.json", "[]")),
		"no name":                 docker(t, m, layer, of(func(s *saved) { s.RepoTags = nil })),
		"a bad name":              docker(t, m, layer, of(func(s *saved) { s.RepoTags = []string{"../a"} })),
		"a name by digest":        docker(t, m, layer, of(func(s *saved) { s.RepoTags = []string{"a@" + m.id()} })),
		"configuration missing":   docker(t, m, layer, of(func(s *saved) { s.Config = "none" })),
		"configuration elsewhere": docker(t, m, layer, of(func(s *saved) { s.Config = "/proc/self/environ" })),
		"configuration up":        docker(t, m, layer, of(func(s *saved) { s.Config = "../../../../etc/passwd" })),
		"layer missing":           docker(t, m, layer, of(func(s *saved) { s.Layers = []string{"none"} })),
		"layer too few":           docker(t, m, layer, of(func(s *saved) { s.Layers = nil })),
		"layer is another":        docker(t, m, files(t, file("a", "b")), good),
		"layer is a loop":         docker(t, m, layer, of(func(s *saved) { s.Layers = []string{"loop"} }), loop),
		"layer leads out":         docker(t, m, layer, of(func(s *saved) { s.Layers = []string{"out"} }), tar.Header{Name: "out", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}),
		"a large archive":         gzipped(t, files(t, file("manifest.json", strings.Repeat(" ", 17<<20)))),
		"a large manifest":        files(t, file("manifest.json", strings.Repeat(" ", maxDocument+1))),
		"layout: another layer":   spoiled(blobPath(m.manifest.Layers[0].Digest), "other"),
		"layout: another config":  spoiled(blobPath(m.manifest.Config.Digest), string(m.configData)+" "),
		"layout: no manifest":     spoiled("index.json", `{"schemaVersion":2,"manifests":[]}`),
		"layout: a digest that escapes": spoiled("index.json",
			`{"schemaVersion":2,"manifests":[{"digest":"sha256:../../../../../../../../../../../../../../../../../../etc/passwd","size":1}]}`),
	} {
		r := newRig(t)
		if result, err := r.load(data, ""); err == nil {
			t.Errorf("%s: got %+v", name, result)
		}
		r.wantEmpty(name)
	}
	r := newRig(t)
	_, err := r.load(docker(t, m, layer, good), "") // the control
	check(t, err)
}

// TestImportEndsWithItsContext while it waits for a pipe.
func TestImportEndsWithItsContext(t *testing.T) {
	r := newRig(t)
	stdin, writer, err := os.Pipe()
	check(t, err)
	defer stdin.Close()
	defer writer.Close()
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		_, _ = writer.Write([]byte("the beginning of an archive"))
		cancel(cause)
	}()
	if _, err := Import(ctx, "-", "", stdin, r.Options); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	r.wantEmpty("cancelled")
}

// TestLayoutDoesNotLeadOutOfItsDirectory: a layout of a stranger may have
// symlinks, and FIFOs that would block.
func TestLayoutDoesNotLeadOutOfItsDirectory(t *testing.T) {
	m := makeImage(t, nil, files(t, file("a", "a")))
	for name, spoil := range map[string]func(dir, blob string) error{
		"out": func(dir, blob string) error {
			return os.Symlink(dir+"/../outside", blob)
		},
		"directory": func(_, blob string) error { return os.Mkdir(blob, 0o755) },
	} {
		r := newRig(t)
		dir := layout(t, map[string]*made{"a:1": m})
		blob := filepath.Join(dir, blobPath(m.manifest.Layers[0].Digest))
		check(t, os.WriteFile(filepath.Join(dir, "..", "outside"), m.layers[0], 0o644))
		check(t, os.Remove(blob))
		check(t, spoil(dir, blob))
		if result, err := Import(t.Context(), dir, "", nil, r.Options); err == nil {
			t.Errorf("%s: got %+v", name, result)
		}
		r.wantEmpty(name)
	}
}

// FuzzImport reads any archive: whatever it is, nothing is left of what is
// not an image.
func FuzzImport(f *testing.F) {
	layer := files(f, file("a", "a"))
	m := makeImage(f, nil, layer)
	f.Add(docker(f, m, layer, []saved{{Config: "config.json", RepoTags: []string{"a:1"}, Layers: []string{"one/layer.tar"}}}))
	f.Add(packed(f, layout(f, map[string]*made{"a:1": m})))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := newRig(t)
		if _, err := r.load(data, ""); err != nil {
			r.wantEmpty("refused")
		}
	})
}

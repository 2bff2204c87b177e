package fetch

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/creel-sandbox/creel/runner/image"
	"github.com/creel-sandbox/creel/runner/image/unpack"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type silence struct{}

func (silence) Start(string, int64) Step { return silence{} }
func (silence) Wait()                    {}
func (silence) Advance(int64)            {}
func (silence) Restart()                 {}
func (silence) Done()                    {}

// rig is a registry on loopback and an empty store.
type rig struct {
	t     *testing.T
	host  string
	outer string // has the store, and a file that must stay
	Options
	// answer takes the place of the registry where it returns true.
	answer func(http.ResponseWriter, *http.Request) bool
	hits   map[string]int // by method and path; not while a pull is running
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, outer: t.TempDir(), hits: map[string]int{}}
	t.Setenv("DOCKER_CONFIG", filepath.Join(r.outer, "docker"))
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	requests := make(chan struct{}, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		requests <- struct{}{}
		r.hits[q.Method+" "+q.URL.Path]++
		<-requests
		if r.answer == nil || !r.answer(w, q) {
			handler.ServeHTTP(w, q)
		}
	}))
	t.Cleanup(server.Close)
	r.host = strings.TrimPrefix(server.URL, "http://")
	check(t, os.WriteFile(filepath.Join(r.outer, "host"), []byte("host"), 0o600))
	store, err := image.Open(filepath.Join(r.outer, "images"))
	check(t, err)
	r.Options = Options{Store: store, Progress: silence{}, Retry: time.Millisecond,
		Limits: Limits{Unpack: unpack.Limits{Bytes: 8 << 20, Entries: 1000}, Download: 16 << 20, Layers: 10}}
	return r
}

// files is a layer in a tar archive.
func files(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, header := range headers {
		text := header.Linkname
		if header.Typeflag == tar.TypeReg {
			header.Linkname, header.Size = "", int64(len(text))
		}
		header.Mode = 0o644
		check(t, w.WriteHeader(&header))
		if header.Typeflag == tar.TypeReg {
			_, err := io.WriteString(w, text)
			check(t, err)
		}
	}
	check(t, w.Close())
	return out.Bytes()
}

func file(name, text string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Linkname: text}
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write(data)
	check(t, errors.Join(err, w.Close()))
	return out.Bytes()
}

// made is an image in its parts, each of which a test may spoil.
type made struct {
	layers   [][]byte // compressed
	config   v1.ConfigFile
	manifest v1.Manifest
	// configData, if not empty, is what is stored instead of config.
	configData []byte
}

func hashOf(t testing.TB, data []byte) v1.Hash {
	t.Helper()
	hash, err := v1.NewHash(digestOf(data))
	check(t, err)
	return hash
}

// make builds an image for this machine; spoil may change the configuration
// before its digest is known.
func makeImage(t testing.TB, spoil func(*made), layers ...[]byte) *made {
	t.Helper()
	m := &made{config: v1.ConfigFile{OS: "linux", Architecture: runtime.GOARCH, RootFS: v1.RootFS{Type: "layers"}}}
	m.manifest = v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1}
	for _, data := range layers {
		compressed := gzipped(t, data)
		m.layers = append(m.layers, compressed)
		m.config.RootFS.DiffIDs = append(m.config.RootFS.DiffIDs, hashOf(t, data))
		m.manifest.Layers = append(m.manifest.Layers, v1.Descriptor{MediaType: types.OCILayer, Size: int64(len(compressed)), Digest: hashOf(t, compressed)})
	}
	m.manifest.Config.MediaType = types.OCIConfigJSON
	if spoil != nil {
		spoil(m)
	}
	if m.configData == nil {
		m.configData = encode(t, m.config)
	}
	m.manifest.Config.Digest, m.manifest.Config.Size = hashOf(t, m.configData), int64(len(m.configData))
	return m
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	check(t, err)
	return data
}

func (m *made) id() string { return digestOf(m.configData) }

// push puts an image into the registry and returns its manifest's digest.
func (r *rig) push(m *made, name string) string {
	r.t.Helper()
	repository, _, _ := strings.Cut(name, ":")
	for _, blob := range append([][]byte{m.configData}, m.layers...) {
		r.send(http.MethodPost, fmt.Sprintf("%s/blobs/uploads/?digest=%s", repository, digestOf(blob)), "application/octet-stream", blob)
	}
	return r.pushManifest(name, string(m.manifest.MediaType), encode(r.t, m.manifest))
}

func (r *rig) pushManifest(name, mediaType string, data []byte) string {
	r.t.Helper()
	repository, tag, _ := strings.Cut(name, ":")
	if tag == "" {
		tag = digestOf(data)
	}
	r.send(http.MethodPut, repository+"/manifests/"+tag, mediaType, data)
	return digestOf(data)
}

func (r *rig) send(method, path, mediaType string, body []byte) {
	r.t.Helper()
	request, err := http.NewRequest(method, "http://"+r.host+"/v2/"+path, bytes.NewReader(body))
	check(r.t, err)
	request.Header.Set("Content-Type", mediaType)
	response, err := http.DefaultClient.Do(request)
	check(r.t, err)
	defer response.Body.Close()
	if response.StatusCode >= 300 {
		text, _ := io.ReadAll(response.Body)
		r.t.Fatalf("%s %s: %s %s", method, path, response.Status, text)
	}
}

func (r *rig) pull(name string) (*Result, error) {
	r.t.Helper()
	return Pull(r.t.Context(), r.host+"/"+name, r.Options)
}

// wantEmpty checks that nothing came of what was refused.
func (r *rig) wantEmpty(what string) {
	r.t.Helper()
	entries, err := os.ReadDir(r.Store.Dir())
	check(r.t, err)
	for _, entry := range entries {
		if entry.Name() != "lock" {
			r.t.Errorf("%s: left %s", what, entry.Name())
		}
	}
	if data, err := os.ReadFile(filepath.Join(r.outer, "host")); err != nil || string(data) != "host" {
		r.t.Errorf("%s: the host has %q, %v", what, data, err)
	}
}

// content reads a file of an image of the store.
func (r *rig) content(reference, name string) string {
	r.t.Helper()
	held, err := r.Store.Resolve(reference)
	check(r.t, err)
	defer held.Release()
	data, err := os.ReadFile(filepath.Join(held.Dir, name))
	check(r.t, err)
	return string(data)
}

// Package imagestore drives the real creel image against a registry on loopback
// that the tests run themselves.
//
// It imports testrig for the binaries, and never anything of runner.
package imagestore

import (
	"archive/tar"
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/creel-sandbox/creel/integration/testrig"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rig is a registry and the configuration of a creel with an empty store.
type rig struct {
	t         *testing.T
	dir, host string
	client    *http.Client
	authority *x509.Certificate // of a registry with TLS
	// block, where it is set, holds up the answers to requests for blobs.
	block atomic.Pointer[blockade]
}

// blockade says when a request has come, and lets it go when it is lifted.
type blockade struct{ reached, lifted chan struct{} }

func newRig(t *testing.T) *rig { return rigOf(t, httptest.NewServer) }

func rigOf(t *testing.T, serve func(http.Handler) *httptest.Server) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir()}
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := serve(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if b := r.block.Load(); b != nil && q.Method == http.MethodGet && strings.Contains(q.URL.Path, "/blobs/") {
			select {
			case b.reached <- struct{}{}:
			default:
			}
			select {
			case <-b.lifted:
			case <-q.Context().Done():
				return
			}
		}
		handler.ServeHTTP(w, q)
	}))
	t.Cleanup(server.Close)
	_, r.host, _ = strings.Cut(server.URL, "//")
	r.client = server.Client()
	r.authority = server.Certificate()
	check(t, os.Mkdir(filepath.Join(r.dir, "policies"), 0o755))
	r.configure(filepath.Join(r.dir, "policies"))
	return r
}

// configure writes what creel image reads.
func (r *rig) configure(policyDir string) {
	r.t.Helper()
	check(r.t, os.WriteFile(filepath.Join(r.dir, "creel.yaml"), []byte("imageDir: "+r.store()+"\npolicyDir: "+policyDir+"\n"), 0o644))
}

func (r *rig) store() string { return filepath.Join(r.dir, "images") }

// image builds an image for this machine with one file of that text.
func image(t testing.TB, text string) v1.Image {
	t.Helper()
	var data bytes.Buffer
	w := tar.NewWriter(&data)
	check(t, w.WriteHeader(&tar.Header{Name: "text", Typeflag: tar.TypeReg, Size: int64(len(text)), Mode: 0o644}))
	_, err := io.WriteString(w, text)
	check(t, errors.Join(err, w.Close()))
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data.Bytes())), nil })
	check(t, err)
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: runtime.GOARCH, RootFS: v1.RootFS{Type: "layers"}})
	check(t, err)
	img, err = mutate.AppendLayers(img, layer)
	check(t, err)
	return img
}

func (r *rig) push(img v1.Image, repository string) {
	r.t.Helper()
	ref, err := name.ParseReference(r.host + "/" + repository)
	check(r.t, err)
	check(r.t, remote.Write(ref, img, remote.WithTransport(r.client.Transport)))
}

// command is creel image with the rig's configuration.
func (r *rig) command(args ...string) *exec.Cmd {
	r.t.Helper()
	cmd := exec.CommandContext(r.t.Context(), filepath.Join(testrig.Binaries(r.t), "creel"),
		append([]string{"image", "--config", filepath.Join(r.dir, "creel.yaml")}, args...)...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "HOME=" + r.dir, "DOCKER_CONFIG=" + r.dir + "/docker"}
	return cmd
}

// ran is how a command ended.
type ran struct {
	stdout, stderr string
	code           int
}

func (r *rig) run(args ...string) ran {
	r.t.Helper()
	return end(r.t, r.command(args...))
}

func end(t testing.TB, cmd *exec.Cmd) ran {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return ran{strings.TrimSpace(stdout.String()), stderr.String(), cmd.ProcessState.ExitCode()}
}

func (got ran) want(t testing.TB, code int, words ...string) ran {
	t.Helper()
	if got.code != code {
		t.Errorf("exit code %d, want %d:\n%s%s", got.code, code, got.stdout, got.stderr)
	}
	for _, word := range words {
		if !strings.Contains(got.stdout+"\n"+got.stderr, word) {
			t.Errorf("does not say %q:\n%s\n%s", word, got.stdout, got.stderr)
		}
	}
	return got
}

// listed is ls --json.
func (r *rig) listed() (pins []string) {
	r.t.Helper()
	var list struct{ Images []struct{ Pin string } }
	check(r.t, json.Unmarshal([]byte(r.run("ls", "--json").want(r.t, 0).stdout), &list))
	for _, img := range list.Images {
		pins = append(pins, img.Pin)
	}
	return pins
}

// drafts are what is in the store that is no image yet, or none any more.
func (r *rig) drafts() []string {
	r.t.Helper()
	found, err := filepath.Glob(r.store() + "/tmp.*")
	check(r.t, err)
	return found
}

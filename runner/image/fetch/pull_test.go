package fetch

import (
	"archive/tar"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

func TestPulledImageIsTheOneInTheRegistry(t *testing.T) {
	r := newRig(t)
	m := makeImage(t, nil, files(t, file("a", "lower"), file("b", "b")), files(t, file("a", "upper"), file(".wh.b", "")))
	digest := r.push(m, "tools:1")
	for _, reference := range []string{"tools:1", "tools@" + digest, "tools:1@" + digest} {
		result, err := r.pull(reference)
		check(t, err)
		if result.ID != m.id() || result.New != (reference == "tools:1") || result.Pin != r.host+"/tools@"+digest || result.Digest() != digest {
			t.Errorf("%s: got %+v", reference, result)
		}
	}
	for _, reference := range []string{r.host + "/tools:1", r.host + "/tools@" + digest, m.id(), "x@" + m.id()} {
		if got := r.content(reference, "a"); got != "upper" {
			t.Errorf("%s: a is %q", reference, got)
		}
	}
	for _, layer := range m.layers {
		if n := r.hits["GET /v2/tools/blobs/"+digestOf(layer)]; n != 1 {
			t.Errorf("a layer was downloaded %d times", n)
		}
	}
	next := makeImage(t, nil, files(t, file("a", "next")))
	r.push(next, "tools:1")
	result, err := r.pull("tools:1")
	check(t, err)
	if got := r.content(r.host+"/tools:1", "a"); got != "next" || !result.New {
		t.Errorf("the tag's new image: %q, %+v", got, result)
	}
	if got := r.content(r.host+"/tools@"+digest, "a"); got != "upper" {
		t.Errorf("the pinned image: %q", got)
	}
}

func TestIndexGivesTheImageForThisMachine(t *testing.T) {
	r := newRig(t)
	ours := makeImage(t, nil, files(t, file("a", "ours")))
	other := makeImage(t, func(m *made) { m.config.Architecture = "s390x" }, files(t, file("a", "other")))
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	add := func(m *made, os, architecture string) {
		data := encode(t, m.manifest)
		r.push(m, "tools")
		index.Manifests = append(index.Manifests, v1.Descriptor{MediaType: m.manifest.MediaType, Size: int64(len(data)), Digest: hashOf(t, data),
			Platform: &v1.Platform{OS: os, Architecture: architecture}})
	}
	add(other, "linux", "s390x")
	add(other, "windows", runtime.GOARCH)
	foreign := r.pushManifest("tools:foreign", string(index.MediaType), encode(t, index))
	if _, err := r.pull("tools@" + foreign); err == nil || !strings.Contains(err.Error(), "there is no image for linux") {
		t.Errorf("an index without an image for this machine: %v", err)
	}
	r.wantEmpty("foreign")
	add(ours, "linux", runtime.GOARCH)
	digest := r.pushManifest("tools:all", string(index.MediaType), encode(t, index))
	result, err := r.pull("tools:all")
	check(t, err)
	if result.Pin != r.host+"/tools@"+digest {
		t.Errorf("pin is %s, and the index %s", result.Pin, digest)
	}
	for _, reference := range []string{result.Pin, r.host + "/tools:all", r.host + "/tools@" + digestOf(encode(t, ours.manifest))} {
		if got := r.content(reference, "a"); got != "ours" {
			t.Errorf("%s: a is %q", reference, got)
		}
	}
}

// spoilBlob answers a blob's requests with other bytes.
func spoilBlob(change func([]byte) []byte) func(*rig, *made) {
	return func(r *rig, m *made) {
		target := m.layers[len(m.layers)-1]
		r.answer = func(w http.ResponseWriter, q *http.Request) bool {
			if !strings.HasSuffix(q.URL.Path, "/blobs/"+digestOf(target)) {
				return false
			}
			_, _ = w.Write(change(slices.Clone(target)))
			return true
		}
	}
}

// answerLayer answers a layer's requests otherwise.
func answerLayer(answer http.HandlerFunc) func(*rig, *made) {
	return func(r *rig, m *made) { r.answerPath("/blobs/"+digestOf(m.layers[0]), answer) }
}

// answerPath answers the requests to GET what ends in a path.
func (r *rig) answerPath(end string, answer http.HandlerFunc) {
	r.answer = func(w http.ResponseWriter, q *http.Request) bool {
		if q.Method != http.MethodGet || !strings.HasSuffix(q.URL.Path, end) {
			return false
		}
		answer(w, q)
		return true
	}
}

func endless(w http.ResponseWriter, _ *http.Request) {
	for {
		if _, err := w.Write(make([]byte, 1<<16)); err != nil {
			return
		}
	}
}

func anotherManifest(r *rig, m *made) {
	data := encode(r.t, m.manifest)
	r.answerPath("/manifests/"+digestOf(data), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", string(m.manifest.MediaType))
		_, _ = w.Write(append(data, '\n'))
	})
}

func anotherConfiguration(r *rig, m *made) {
	r.answerPath("/blobs/"+m.id(), func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(strings.Replace(string(m.configData), "linux", "Linux", 1)))
	})
}

// TestDamagedImageIsRefusedAndLeavesNothing: the control is the same image
// undamaged, which is pulled.
func TestDamagedImageIsRefusedAndLeavesNothing(t *testing.T) {
	upper := file("b", strings.Repeat("zero", 100_000))
	for _, c := range []struct {
		name  string
		told  string
		spoil func(*made)       // the image
		serve func(*rig, *made) // or what the registry says of it
	}{
		{name: "nothing"},
		{name: "truncated layer", told: "verif", serve: spoilBlob(func(b []byte) []byte { return b[:len(b)-1] })},
		{name: "corrupted layer", told: "verif", serve: spoilBlob(func(b []byte) []byte { b[len(b)/2] ^= 1; return b })},
		{name: "longer layer", told: "more than the", serve: spoilBlob(func(b []byte) []byte { return append(b, 0) })},
		{name: "endless layer", told: "more than the", serve: answerLayer(endless)},
		{name: "missing layer", told: "404", serve: answerLayer(http.NotFound)},
		{name: "another manifest than pinned", told: "", serve: anotherManifest},
		{name: "another configuration", told: "verif", serve: anotherConfiguration},
		{name: "wrong diff_id", told: "verify layer", spoil: func(m *made) { m.config.RootFS.DiffIDs[1] = m.config.RootFS.DiffIDs[0] }},
		{name: "a diff_id too few", told: "different numbers", spoil: func(m *made) { m.config.RootFS.DiffIDs = m.config.RootFS.DiffIDs[:1] }},
		{name: "a layer more", told: "different numbers", spoil: func(m *made) { m.manifest.Layers = append(m.manifest.Layers, m.manifest.Layers[0]) }},
		{name: "another machine's", told: "this machine is", spoil: func(m *made) { m.config.Architecture = "s390x" }},
		{name: "another system's", told: "this machine is", spoil: func(m *made) { m.config.OS = "windows" }},
		{name: "no image", told: "no container image", spoil: func(m *made) { m.manifest.Config.MediaType = "application/vnd.cncf.helm.config.v1+json" }},
		{name: "no JSON", told: "read configuration", spoil: func(m *made) { m.configData = []byte("{") }},
		{name: "a layer that says it is large", told: "bytes to download", spoil: func(m *made) { m.manifest.Layers[1].Size = 1 << 40 }},
		{name: "a layer that says it is small", told: "more than the", spoil: func(m *made) { m.manifest.Layers[1].Size = 1 }},
		{name: "a layer of negative size", told: "bytes to download", spoil: func(m *made) { m.manifest.Layers[1].Size = -1 }},
		{name: "a large configuration", told: "configuration", spoil: func(m *made) { m.configData = append(encode(t, m.config), make([]byte, maxDocument)...) }},
		{name: "a bomb", told: "limit of 8388608 bytes", spoil: spoilLayer(t, file("b", strings.Repeat("\x00", 9<<20)))},
		{name: "a path that escapes", told: `".."`, spoil: spoilLayer(t, file("../../../../host", "attack"))},
		{name: "a symlink that escapes", told: "symlink", spoil: spoilLayer(t, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "../../../.."}, file("l/host", "attack"))},
		{name: "a hard link that escapes", told: `".."`, spoil: spoilLayer(t, tar.Header{Name: "l", Typeflag: tar.TypeLink, Linkname: "../../../../host"})},
		{name: "no archive", told: "read layer", spoil: func(m *made) { setLayer(t, m, []byte(strings.Repeat("no archive", 100))) }},
	} {
		r := newRig(t)
		m := makeImage(t, c.spoil, files(t, file("a", "a")), files(t, upper))
		digest := r.push(m, "tools:1")
		if c.serve != nil {
			c.serve(r, m)
		}
		result, err := r.pull("tools@" + digest)
		if c.name == "nothing" {
			check(t, err)
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.told) {
			t.Errorf("%s: got %+v, %v", c.name, result, err)
		}
		r.wantEmpty(c.name)
	}
}

// spoilLayer gives the second layer other content, with right digests.
func spoilLayer(t testing.TB, headers ...tar.Header) func(*made) {
	return func(m *made) { setLayer(t, m, files(t, headers...)) }
}

func setLayer(t testing.TB, m *made, data []byte) {
	compressed := gzipped(t, data)
	m.layers[1] = compressed
	m.config.RootFS.DiffIDs[1] = hashOf(t, data)
	m.manifest.Layers[1].Digest, m.manifest.Layers[1].Size = hashOf(t, compressed), int64(len(compressed))
}

func TestTooManyLayersAreRefused(t *testing.T) {
	r := newRig(t)
	layer := files(t, file("a", "a"))
	r.push(makeImage(t, nil, slices.Repeat([][]byte{layer}, 11)...), "many:1")
	if _, err := r.pull("many:1"); err == nil || !strings.Contains(err.Error(), "11 layers, of at most 10") {
		t.Errorf("got %v", err)
	}
	r.wantEmpty("many")
	r.push(makeImage(t, nil, slices.Repeat([][]byte{layer}, 10)...), "many:2")
	_, err := r.pull("many:2")
	check(t, err)
}

// TestCredentialsAreThoseOfDocker uses a registry that wants them.
func TestCredentialsAreThoseOfDocker(t *testing.T) {
	r := newRig(t)
	r.push(makeImage(t, nil, files(t, file("a", "a"))), "tools:1")
	r.answer = func(w http.ResponseWriter, q *http.Request) bool {
		if user, password, ok := q.BasicAuth(); ok && user == "me" && password == "secret" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
		return true
	}
	login := func(password string) {
		config := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, r.host, base64.StdEncoding.EncodeToString([]byte("me:"+password)))
		check(t, os.MkdirAll(filepath.Join(r.outer, "docker"), 0o700))
		check(t, os.WriteFile(filepath.Join(r.outer, "docker", "config.json"), []byte(config), 0o600))
	}
	for _, password := range []string{"", "wrong"} {
		if password != "" {
			login(password)
		}
		if _, err := r.pull("tools:1"); !IsUnauthorized(err) || strings.Contains(fmt.Sprint(err), "wrong") {
			t.Errorf("with password %q: %v", password, err)
		}
		r.wantEmpty("unauthorized")
	}
	login("secret")
	_, err := r.pull("tools:1")
	check(t, err)
}

func TestPassingFailureIsTriedAgainAFewTimes(t *testing.T) {
	for _, failures := range []int{attempts - 1, attempts} {
		r := newRig(t)
		m := makeImage(t, nil, files(t, file("a", "a")), files(t, file("b", strings.Repeat("b", 1<<20))))
		r.push(m, "tools:1")
		path := "/v2/tools/blobs/" + digestOf(m.layers[1])
		r.answer = func(w http.ResponseWriter, q *http.Request) bool {
			if q.URL.Path != path || r.hits["GET "+path] > failures {
				return false
			}
			w.Header().Set("Content-Length", fmt.Sprint(len(m.layers[1])))
			_, _ = w.Write(m.layers[1][:100])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler) // the connection breaks
		}
		_, err := r.pull("tools:1")
		if (err == nil) != (failures < attempts) {
			t.Errorf("after %d failures: %v", failures, err)
		}
		if err != nil {
			r.wantEmpty("failures")
		}
		if n := r.hits["GET "+path]; n != min(failures+1, attempts) {
			t.Errorf("after %d failures: tried %d times", failures, n)
		}
	}
}

func TestPullEndsWithItsContext(t *testing.T) {
	r := newRig(t)
	m := makeImage(t, nil, files(t, file("a", "a")), files(t, file("b", "b")))
	r.push(m, "tools:1")
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	r.answer = func(w http.ResponseWriter, q *http.Request) bool {
		if !strings.HasSuffix(q.URL.Path, digestOf(m.layers[1])) {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(m.layers[1])))
		w.WriteHeader(http.StatusOK)
		w.(http.Flusher).Flush()
		cancel(cause)
		<-q.Context().Done()
		return true
	}
	if _, err := Pull(ctx, r.host+"/tools:1", r.Options); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	r.wantEmpty("cancelled")
}

// TestPlainHTTPIsForThisMachineOnly: go-containerregistry would use it for
// private addresses and *.local, and follow a redirect to it.
func TestPlainHTTPIsForThisMachineOnly(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, host := range []string{"10.0.0.1:5000", "192.168.1.1", "registry.local", "example.org", "169.254.169.254", "localhost.example.org", "127.0.0.1.example.org", "0.0.0.0:1", "[fe80::1]:1"} {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/v2/", nil)
		check(t, err)
		response, err := newTransport().RoundTrip(request)
		if err == nil || !strings.Contains(err.Error(), "not reached by HTTPS") {
			t.Errorf("%s: %v, %v", host, response, err)
		}
	}
	r := newRig(t)
	r.push(makeImage(t, nil, files(t, file("a", "a"))), "tools:1")
	_, err := r.pull("tools:1") // the control
	check(t, err)
	r.answer = func(w http.ResponseWriter, q *http.Request) bool {
		if !strings.Contains(q.URL.Path, "/manifests/") {
			return false
		}
		http.Redirect(w, q, "http://registry.example.org/v2/", http.StatusTemporaryRedirect)
		return true
	}
	if _, err := r.pull("tools:1"); err == nil || !strings.Contains(err.Error(), "not reached by HTTPS") {
		t.Errorf("a redirect: %v", err)
	}
}

func TestBadReferenceIsRefused(t *testing.T) {
	r := newRig(t)
	for _, reference := range []string{"", "UPPER", "a@sha256:12", "../x", "a b", "http://127.0.0.1/x", r.host + "/x@sha512:" + strings.Repeat("0", 128)} {
		if result, err := Pull(t.Context(), reference, r.Options); err == nil {
			t.Errorf("%q: %v", reference, result)
		}
	}
}

// TestVerifierNeverEndsWellOnOtherBytes reads through it in odd pieces.
func TestVerifierNeverEndsWellOnOtherBytes(t *testing.T) {
	good := []byte("the bytes of the blob")
	wanted := v1.Descriptor{Digest: hashOf(t, good), Size: int64(len(good))}
	for _, c := range []struct {
		data string
		good bool
	}{{string(good), true}, {string(good[:5]), false}, {string(good) + "x", false}, {"the bytes of the blog", false}, {"", false}} {
		data, err := io.ReadAll(newVerifier(strings.NewReader(c.data), wanted))
		if (err == nil) != c.good || c.good && string(data) != string(good) {
			t.Errorf("%q: %q, %v", c.data, data, err)
		}
	}
}

package imagestore

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// supervise starts a supervisor that uses the rig's store.
func (r *rig) supervise(ociRuntime string) *testrig.Rig {
	r.t.Helper()
	s := testrig.Start(r.t, testrig.Options{Runtime: ociRuntime, Config: "imageDir: " + r.store() + "\n"})
	r.configure(s.Policies)
	return s
}

// entry is a header whose Linkname is the content of a file.
func entry(name string, flag byte, link string, mode int64) tar.Header {
	return tar.Header{Name: name, Typeflag: flag, Linkname: link, Mode: mode}
}

func pack(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, header := range headers {
		text := ""
		if header.Typeflag == tar.TypeReg {
			text, header.Linkname = header.Linkname, ""
			header.Size = int64(len(text))
		}
		check(t, w.WriteHeader(&header))
		_, err := w.Write([]byte(text))
		check(t, err)
	}
	check(t, w.Close())
	return out.Bytes()
}

// archive is a docker-archive of an image with busybox below one layer more.
func archive(t testing.TB, more ...tar.Header) string {
	t.Helper()
	program, err := os.ReadFile("/bin/busybox")
	check(t, err)
	layers := [][]byte{
		pack(t, entry("bin/busybox", tar.TypeReg, string(program), 0o755), entry("bin/sh", tar.TypeSymlink, "busybox", 0), entry("etc/made", tar.TypeReg, "by the image", 0o644)),
		pack(t, more...),
	}
	config := v1.ConfigFile{OS: "linux", Architecture: runtime.GOARCH, RootFS: v1.RootFS{Type: "layers"}}
	members := []tar.Header{}
	names := []string{}
	for i, layer := range layers {
		hash, _, err := v1.SHA256(bytes.NewReader(layer))
		check(t, err)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, hash)
		names = append(names, fmt.Sprintf("%d.tar", i))
		members = append(members, entry(names[i], tar.TypeReg, string(layer), 0o644))
	}
	data, err := json.Marshal(config)
	check(t, err)
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": []string{"own/tools:1"}, "Layers": names}})
	check(t, err)
	file := filepath.Join(t.TempDir(), "image.tar")
	check(t, os.WriteFile(file, pack(t, append(members, entry("config.json", tar.TypeReg, string(data), 0o644), entry("manifest.json", tar.TypeReg, string(manifest), 0o644))...), 0o644))
	return file
}

func onEachRuntime(t *testing.T, run func(t *testing.T, r *rig, s *testrig.Rig)) {
	for _, name := range testrig.Runtimes {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			run(t, r, r.supervise(name))
		})
	}
}

// use puts an image into force as the root of the default policy.
func (r *rig) use(s *testrig.Rig, more ...tar.Header) {
	r.t.Helper()
	pin := r.run("import", "-q", archive(r.t, more...)).want(r.t, 0).stdout
	s.WritePolicy("exec-default", s.PolicyText("exec-default", "root: {image: '"+pin+"'}"))
	s.Reload()
}

func TestSandboxRunsFromAnImageThatThenStays(t *testing.T) {
	onEachRuntime(t, func(t *testing.T, r *rig, s *testrig.Rig) {
		r.use(s, entry("text", tar.TypeReg, "second layer", 0o600))
		got := s.Shell("cat /etc/made; busybox id -u; busybox cat /text; echo x >/etc/made; echo x >/new; echo x >/workspace/new; echo $?")
		if want := fmt.Sprintf("by the image%d\n0", testrig.User); strings.TrimSpace(got.Stdout) != want || !strings.Contains(got.Stderr, "Read-only file system") || !strings.Contains(got.Stderr, "Permission denied") {
			t.Errorf("got %+v", got)
		}
		r.run("rm", "own/tools:1").want(t, 1, "the image is in use", "creel: hint: ")
		r.run("prune", "-f").want(t, 0) // a policy names it
		if n := len(r.listed()); n != 1 {
			t.Errorf("%d images", n)
		}
		s.WritePolicy("exec-default", s.PolicyText("exec-default", ""))
		s.Reload()
		if got := s.Exec("true"); got.Code != 0 { // from then on nothing is made of the image
			t.Errorf("with the host as root: %+v", got)
		}
		r.run("rm", "own/tools:1").want(t, 0, "removed: sha256:")
	})
}

func TestMissingImageIsTold(t *testing.T) {
	r := newRig(t)
	s := r.supervise(testrig.Runtimes[0])
	s.WritePolicy("exec-default", s.PolicyText("exec-default", "root: {image: 'own/tools@sha256:"+strings.Repeat("0", 64)+"'}"))
	s.Reload()
	got := s.Exec("true")
	if got.Code != 125 || !strings.Contains(got.Stderr, "creel image pull") {
		t.Errorf("got %+v", got)
	}
}

// hostile is a place of the host that images try to show or change: a
// directory with one secret.
type hostile struct{ outside, secret string }

func newHostile(t *testing.T) hostile {
	t.Helper()
	dir := t.TempDir()
	check(t, os.WriteFile(dir+"/secret", []byte("the host's"), 0o644))
	check(t, os.Chmod(dir, 0o755))
	return hostile{dir, dir + "/secret"}
}

// hostileImage is what an image has in the places that the sandbox mounts over.
type hostileImage struct {
	name  string
	files []tar.Header
}

func (h hostile) images(t *testing.T) []hostileImage {
	t.Helper()
	program, err := os.ReadFile("/bin/busybox")
	check(t, err)
	many := make([]tar.Header, 0, 100_000)
	for i := range cap(many) {
		many = append(many, entry(fmt.Sprintf("many/%d/%d", i%100, i), tar.TypeReg, "", 0o644))
	}
	return []hostileImage{
		{"nothing", nil},
		{"dev is a symlink", []tar.Header{entry("dev", tar.TypeSymlink, h.outside, 0)}},
		{"dev has a null of its own", []tar.Header{entry("dev/null", tar.TypeSymlink, h.secret, 0), entry("dev/pts", tar.TypeSymlink, "/", 0)}},
		{"proc is a symlink", []tar.Header{entry("proc", tar.TypeSymlink, "/workspace", 0)}},
		{"proc is a file", []tar.Header{entry("proc", tar.TypeReg, "", 0o644)}},
		{"tmp is a symlink", []tar.Header{entry("tmp", tar.TypeSymlink, h.outside, 0)}},
		{"sys is a symlink", []tar.Header{entry("sys", tar.TypeSymlink, "/proc", 0)}},
		{"a mount's target is a symlink", []tar.Header{entry("workspace", tar.TypeSymlink, h.outside, 0)}},
		{"a mount's target goes up", []tar.Header{entry("workspace", tar.TypeSymlink, "../../../../../.."+h.outside, 0)}},
		{"the place of init is a symlink", []tar.Header{entry(".creel", tar.TypeSymlink, h.outside, 0)}},
		{"init is another", []tar.Header{entry(".creel/init", tar.TypeReg, string(program), 0o6755)}},
		{"programs are set-uid", []tar.Header{entry("suid/id", tar.TypeReg, string(program), 0o6755)}},
		{"links to the host", []tar.Header{entry("host", tar.TypeSymlink, "../../../../../.."+h.secret, 0), entry("dir", tar.TypeSymlink, h.outside, 0)}},
		{"names to break out", []tar.Header{entry("a\nb; rm -rf $HOME", tar.TypeReg, "", 0o644), entry("\xff\x1b[2J", tar.TypeReg, "", 0o644), entry("-rf", tar.TypeReg, "", 0o644)}},
		{"many files", many},
	}
}

// attempt runs a command in the image's sandbox, which must be as ever or, where
// that is allowed, refused. It says whether it was refused.
func (h hostile) attempt(t *testing.T, s *testrig.Rig, image string, mayRefuse bool) bool {
	t.Helper()
	got := s.Shell("echo x >/tmp/x && echo x >/workspace/x && echo x >/dev/null && busybox test -c /dev/null -a -d /proc/self && busybox id -u; " +
		"[ ! -e /suid/id ] || /suid/id -u; cat " + h.secret + " /host /dir/secret")
	if left, err := os.ReadDir(h.outside); err != nil || len(left) != 1 {
		t.Errorf("%s: the host has %v, %v", image, left, err)
	}
	if mayRefuse && got.Code == 125 && got.Stdout == "" && strings.Contains(got.Stderr, "creel: hint: ") {
		return true
	}
	users := strings.Fields(got.Stdout)
	if len(users) == 0 || slices.ContainsFunc(users, func(id string) bool { return id != fmt.Sprint(testrig.User) }) ||
		strings.Contains(got.Stdout+got.Stderr, "the host's") {
		t.Errorf("%s: got %+v", image, got)
	}
	if data, err := os.ReadFile(s.Workspace + "/x"); err != nil || string(data) != "x\n" {
		t.Errorf("%s: the workspace has %q, %v", image, data, err)
	}
	check(t, os.RemoveAll(s.Workspace+"/x"))
	return false
}

// TestHostileImageIsHarmless: whatever an image has in the places that the
// sandbox mounts over, it shows nothing of the host and changes nothing.
func TestHostileImageIsHarmless(t *testing.T) {
	h := newHostile(t)
	images := h.images(t)
	onEachRuntime(t, func(t *testing.T, r *rig, s *testrig.Rig) {
		for _, image := range images {
			r.use(s, image.files...)
			h.attempt(t, s, image.name, false)
		}
	})
}

// With Docker, which makes mount points in the image's own file system, an
// image is harmless or refused.
func TestHostileImageIsHarmlessOrRefusedOnDocker(t *testing.T) {
	h := newHostile(t)
	s := testrig.Start(t, testrig.Options{Target: testrig.Target{Maker: "docker", Root: "host"}})
	refused := 0
	for _, image := range h.images(t) {
		testrig.Daemon().Docker("load", "--quiet", "--input", archive(t, image.files...))
		id := testrig.Daemon().Docker("image", "inspect", "--format", "{{.Id}}", "own/tools:1")
		s.WritePolicy("exec-default", s.PolicyText("exec-default", "root: {image: 'own/tools@"+id+"'}"))
		s.Reload()
		if h.attempt(t, s, image.name, image.files != nil) {
			refused++
		}
	}
	if refused == 0 || refused > 6 {
		t.Errorf("%d images were refused", refused)
	}
}

func TestMain(m *testing.M) { os.Exit(testrig.Main(m)) }

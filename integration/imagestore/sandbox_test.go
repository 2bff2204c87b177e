package imagestore

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// supervise starts a supervisor that uses the rig's store.
func (r *rig) supervise(ociRuntime string) *testrig.Rig {
	r.t.Helper()
	s := testrig.Start(r.t, testrig.Options{Runtime: ociRuntime})
	s.StopSupervisor()
	s.WriteConfig(fmt.Sprintf("runtimeDir: %s/run\npolicyDir: %s\nauditDir: %s/audit\ninitPath: %s/creel-init\nruntime: %s\ngroup: nogroup\nimageDir: %s\n",
		s.Dir, s.Policies, s.Dir, testrig.Binaries(r.t), ociRuntime, r.store()))
	s.StartSupervisor()
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

// TestHostileImageIsHarmless: whatever an image has in the places that the
// sandbox mounts over, it shows nothing of the host and changes nothing.
func TestHostileImageIsHarmless(t *testing.T) {
	program, err := os.ReadFile("/bin/busybox")
	check(t, err)
	secret := filepath.Join(t.TempDir(), "secret")
	check(t, os.WriteFile(secret, []byte("the host's"), 0o644))
	check(t, os.Chmod(filepath.Dir(secret), 0o755))
	outside := filepath.Dir(secret)
	many := make([]tar.Header, 0, 100_000)
	for i := range cap(many) {
		many = append(many, entry(fmt.Sprintf("many/%d/%d", i%100, i), tar.TypeReg, "", 0o644))
	}
	onEachRuntime(t, func(t *testing.T, r *rig, s *testrig.Rig) {
		for _, c := range []struct {
			name  string
			image []tar.Header
		}{
			{"nothing", nil},
			{"dev is a symlink", []tar.Header{entry("dev", tar.TypeSymlink, outside, 0)}},
			{"dev has a null of its own", []tar.Header{entry("dev/null", tar.TypeSymlink, secret, 0), entry("dev/pts", tar.TypeSymlink, "/", 0)}},
			{"proc is a symlink", []tar.Header{entry("proc", tar.TypeSymlink, "/workspace", 0)}},
			{"proc is a file", []tar.Header{entry("proc", tar.TypeReg, "", 0o644)}},
			{"tmp is a symlink", []tar.Header{entry("tmp", tar.TypeSymlink, outside, 0)}},
			{"sys is a symlink", []tar.Header{entry("sys", tar.TypeSymlink, "/proc", 0)}},
			{"a mount's target is a symlink", []tar.Header{entry("workspace", tar.TypeSymlink, outside, 0)}},
			{"a mount's target goes up", []tar.Header{entry("workspace", tar.TypeSymlink, "../../../../../.."+outside, 0)}},
			{"the place of init is a symlink", []tar.Header{entry(".creel", tar.TypeSymlink, outside, 0)}},
			{"init is another", []tar.Header{entry(".creel/init", tar.TypeReg, string(program), 0o6755)}},
			{"programs are set-uid", []tar.Header{entry("bin/suid", tar.TypeReg, string(program), 0o6755)}},
			{"links to the host", []tar.Header{entry("host", tar.TypeSymlink, "../../../../../.."+secret, 0), entry("dir", tar.TypeSymlink, outside, 0)}},
			{"names to break out", []tar.Header{entry("a\nb; rm -rf $HOME", tar.TypeReg, "", 0o644), entry("\xff\x1b[2J", tar.TypeReg, "", 0o644), entry("-rf", tar.TypeReg, "", 0o644)}},
			{"many files", many},
		} {
			r.use(s, c.image...)
			got := s.Shell("echo x >/tmp/x && echo x >/workspace/x && echo x >/dev/null && busybox test -c /dev/null -a ! -u /bin/suid -a -d /proc/self && busybox id -u; cat " + secret + " /host /dir/secret")
			if strings.TrimSpace(got.Stdout) != fmt.Sprint(testrig.User) || strings.Contains(got.Stdout+got.Stderr, "the host's") {
				t.Errorf("%s: got %+v", c.name, got)
			}
			if data, err := os.ReadFile(s.Workspace + "/x"); err != nil || string(data) != "x\n" {
				t.Errorf("%s: the workspace has %q, %v", c.name, data, err)
			}
			check(t, os.RemoveAll(s.Workspace+"/x"))
			if left, err := os.ReadDir(outside); err != nil || len(left) != 1 {
				t.Errorf("%s: the host has %v, %v", c.name, left, err)
			}
		}
	})
}

package image_test

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/image"
	"github.com/creel-sandbox/creel/integration/testrig"
)

// cached is the image, built now if this machine has none.
func cached(t *testing.T) image.Image {
	t.Helper()
	made, err := image.Cached(context.Background(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// members calls f with each member of a tar file.
func members(t *testing.T, from io.Reader, f func(*tar.Header, io.Reader)) {
	t.Helper()
	archive := tar.NewReader(from)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		f(header, archive)
	}
}

func open(t *testing.T, path string) *os.File {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

// TestArchiveIsWhatItSays reads the archive as docker load does: by what its
// manifest names, each checked by its digest.
func TestArchiveIsWhatItSays(t *testing.T) {
	made := cached(t)
	digests, small := map[string]string{}, map[string][]byte{}
	members(t, open(t, made.Archive), func(header *tar.Header, content io.Reader) {
		sum := sha256.New()
		if strings.HasSuffix(header.Name, ".json") {
			data, err := io.ReadAll(content)
			if err != nil {
				t.Fatal(err)
			}
			small[header.Name] = data
			sum.Write(data)
		} else if _, err := io.Copy(sum, content); err != nil {
			t.Fatal(err)
		}
		digests[header.Name] = "sha256:" + hex.EncodeToString(sum.Sum(nil))
	})
	var manifest []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(small["manifest.json"], &manifest); err != nil || len(manifest) != 1 || len(manifest[0].Layers) != 1 {
		t.Fatalf("manifest.json holds %s: %v", small["manifest.json"], err)
	}
	if !slices.Equal(manifest[0].RepoTags, []string{image.Tag}) || digests[manifest[0].Config] != made.ID {
		t.Errorf("the manifest names %v with configuration %s, want %s and %s", manifest[0].RepoTags, digests[manifest[0].Config], image.Tag, made.ID)
	}
	var config struct {
		Config map[string]any
		Rootfs struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	if err := json.Unmarshal(small[manifest[0].Config], &config); err != nil {
		t.Fatal(err)
	}
	if got := digests[manifest[0].Layers[0]]; !slices.Equal(config.Rootfs.DiffIDs, []string{got}) {
		t.Errorf("the layer is %s, the configuration says %v", got, config.Rootfs.DiffIDs)
	}
	for _, key := range []string{"Entrypoint", "Volumes", "Healthcheck", "ExposedPorts", "User"} {
		if value, ok := config.Config[key]; ok {
			t.Errorf("the configuration sets %s: %v", key, value)
		}
	}
}

func TestImageHoldsNoPrivilegeAndNothingOfThisMachine(t *testing.T) {
	made := cached(t)
	seen := map[string]*tar.Header{}
	layer := func(header *tar.Header, content io.Reader) {
		seen[strings.Trim(header.Name, "./")] = header
		if header.Uid != 0 || header.Gid != 0 || header.Mode&0o6000 != 0 {
			t.Errorf("%s belongs to %d:%d with mode %o", header.Name, header.Uid, header.Gid, header.Mode)
		}
		if kind := header.Typeflag; kind == tar.TypeChar || kind == tar.TypeBlock || kind == tar.TypeFifo {
			t.Errorf("%s is a device or a FIFO", header.Name)
		}
		if _, ok := header.PAXRecords["SCHILY.xattr.security.capability"]; ok {
			t.Errorf("%s has file capabilities", header.Name)
		}
	}
	members(t, open(t, made.Archive), func(header *tar.Header, content io.Reader) {
		if header.Name == "layer.tar" {
			members(t, content, layer)
		}
	})
	if len(seen) < 1000 || seen["usr/bin/git"] == nil {
		t.Fatalf("control: %d files were looked at, git not among them", len(seen))
	}
	for _, point := range []string{"workspace", "logs", "tmp", "proc", "dev", "sys", "creel"} {
		if seen[point] == nil || seen[point].Typeflag != tar.TypeDir {
			t.Errorf("there is no directory to mount on at %s", point)
		}
	}
	for _, name := range []string{"etc/shadow", "etc/machine-id", "etc/apt/apt.conf.d/99mmdebstrap"} {
		if seen[name] != nil {
			t.Errorf("the image holds /%s", name)
		}
	}
	for _, name := range []string{"etc/resolv.conf", "etc/hostname"} {
		if seen[name] == nil || seen[name].Size != 0 {
			t.Errorf("the image's /%s is not the empty one it should be", name)
		}
	}
	passwd, err := os.ReadFile(made.Dir + "/etc/passwd")
	if err != nil || strings.Count(string(passwd), "\n") != 2 {
		t.Errorf("the image has other users than root and nobody: %v\n%s", err, passwd)
	}
}

// TestToolsWorkForASandboxUser runs each in a real sandbox, whose user the
// image knows nothing of.
func TestToolsWorkForASandboxUser(t *testing.T) {
	r := testrig.Start(t, testrig.Options{Policy: "root: {dir: " + cached(t).Dir + "}"})
	for _, script := range []string{
		"cat /etc/debian_version | grep -E '^12' | sed s/12/twelve/ | grep twelve",
		"git init -q repo && cd repo && git config user.name x && git config user.email x@example.org && echo a >a && git add a && git commit -qm a && git log --oneline",
		`python3 -c 'import json, ssl, sqlite3, subprocess; print(subprocess.run(["id", "-u"], capture_output=True, text=True).stdout)' | grep '^61234$'`,
		"seq 3 | awk '{s += $1} END {exit s != 6}' && seq 3 | gawk '{s += $1} END {exit s != 6}'",
		"mkdir -p d && echo x >d/f && tar -czf d.tar.gz d && rm -r d && tar -xzf d.tar.gz && find d -name f | xargs cat && xz -k d.tar.gz",
		"bash -c 'a=(1 2); [[ ${a[1]} = 2 ]]' && curl --version && ps aux && diff /etc/passwd /etc/passwd",
		`python3 -c 'import ssl; assert len(ssl.create_default_context().get_ca_certs()) > 100'`,
		"LC_ALL=C.UTF-8 locale charmap | grep UTF-8",
	} {
		if got := r.Shell("set -e; " + script); got.Code != 0 {
			t.Errorf("%s\nended with %d:\n%s%s", script, got.Code, got.Stdout, got.Stderr)
		}
	}
	if got := r.Shell("git frobnicate"); got.Code == 0 {
		t.Error("control: a command that fails was taken for one that works")
	}
}

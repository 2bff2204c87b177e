package image_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/dockerd"
	"github.com/creel-sandbox/creel/integration/image"
	"github.com/creel-sandbox/creel/integration/testrig"
)

// TestDockerLoadsTheImage and finds it under the ID that the build printed.
func TestDockerLoadsTheImage(t *testing.T) {
	made := cached(t)
	d := dockerd.Start(t, dockerd.Options{})
	d.Docker("load", "-q", "-i", made.Archive)
	if id := d.Docker("image", "inspect", "--format", "{{.Id}}", image.Tag); id != made.ID {
		t.Errorf("docker has %s under %s, the build made %s", id, image.Tag, made.ID)
	}
	got := d.Docker("run", "--rm", "--network", "none", "--read-only", "--user", "61234:61234", made.ID, "sh", "-c", "git --version; id -u; ls -d /workspace /logs")
	if !strings.HasPrefix(got, "git version ") || !strings.HasSuffix(got, "\n61234\n/logs\n/workspace") {
		t.Errorf("a container of it printed:\n%s", got)
	}
}

// TestCreelImportsTheImage and names it so that a policy can.
func TestCreelImportsTheImage(t *testing.T) {
	made := cached(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "creel.yaml")
	if err := os.WriteFile(config, []byte("imageDir: "+dir+"/images\npolicyDir: "+dir+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(testrig.Binaries(t)+"/creel", "image", "--config", config, "import", "-q", made.Archive)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("creel image import: %v", err)
	}
	if name := strings.TrimSpace(string(out)); !strings.HasPrefix(name, "creel-sandbox@sha256:") {
		t.Errorf("it is named %q", name)
	}
	if unpacked, _ := filepath.Glob(dir + "/images/*/rootfs/usr/bin/git"); len(unpacked) != 1 {
		t.Errorf("control: git was unpacked in %q", unpacked)
	}
}

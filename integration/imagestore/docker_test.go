package imagestore

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/integration/dockerd"
)

// steps make the layers of an image: each is run in a container of the one
// before, so that Docker itself writes the whiteouts.
var steps = []string{
	`mkdir -p /etc /d/sub /gone/deep /emptied /linked; echo a >/d/a; echo b >/d/b; echo s >/d/sub/s; echo x >/gone/deep/x
	 echo e >/emptied/e; echo l >/linked/l; ln -s linked /link; ln /d/a /d/hard; echo f >/file; mkdir /dir; echo i >/dir/inner
	 ln -s /etc/passwd /abs; mkfifo /fifo; echo u >/suid; chmod 6755 /suid; mkdir -m 1777 /open; chown 5:6 /d/b; chmod 600 /d/b`,
	`rm /d/a; rm -r /gone; rm /emptied/e; rm -r /linked /link; mkdir /link; echo n >/link/new; rm /file; mkdir /file; echo i >/file/in
	 rm -r /dir; echo now >/dir; rm -r /d/sub; mkdir /d/sub; echo t >/d/sub/t; echo h >>/d/hard`,
	`mkdir /gone; echo back >/gone/back; rm -r /file; ln -s d /file; rm /dir; mkdir -p /dir/again; chmod 700 /dir/again; rm /abs`,
}

// TestUnpackedImageIsWhatDockerHas compares every entry with `docker export`.
func TestUnpackedImageIsWhatDockerHas(t *testing.T) {
	d := dockerd.Start(t, dockerd.Options{})
	program, err := os.ReadFile("/bin/busybox")
	check(t, err)
	d.Import(bytes.NewReader(pack(t, entry("busybox", tar.TypeReg, string(program), 0o755))), "step:0", "CMD /busybox")
	for i, script := range steps {
		name := fmt.Sprintf("made%d", i)
		d.Docker("run", "--name", name, "--network", "none", fmt.Sprintf("step:%d", i), "/busybox", "sh", "-euc",
			strings.NewReplacer("\n", "; ").Replace("PATH=/bin; for a in mkdir ln rm chmod chown mkfifo; do alias $a=\"/busybox $a\"; done\n"+script))
		d.Docker("commit", name, fmt.Sprintf("step:%d", i+1))
	}
	last := fmt.Sprintf("step:%d", len(steps))
	r := newRig(t)
	saved := filepath.Join(r.dir, "saved.tar")
	d.Docker("save", "-o", saved, last)
	pin := r.run("import", saved).want(t, 0, "creel: notice: devices, FIFOs or sockets were left out: fifo").stdout
	if id := d.Docker("image", "inspect", "--format", "{{.Id}}", last); pin != "step@"+id {
		t.Errorf("creel has %s, docker %s", pin, id)
	}
	d.Docker("create", "--name", "export", last)
	exported := filepath.Join(r.dir, "export.tar")
	d.Docker("export", "-o", exported, "export")
	roots, err := filepath.Glob(r.store() + "/*/rootfs")
	check(t, err)
	got, want := unpacked(t, roots[0]), inArchive(t, exported)
	if len(want) < 15 {
		t.Fatalf("control: docker exported %d entries", len(want))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-docker +creel):\n%s", diff)
	}
}

// mounted are what Docker makes in each container, and no image has.
var mounted = []string{".dockerenv", "dev", "proc", "sys", "etc"}

func ofDocker(name string) bool {
	for _, m := range mounted {
		if name == m || strings.HasPrefix(name, m+"/") {
			return true
		}
	}
	return false
}

// inArchive describes the entries of docker export as unpacked does, without
// what creel leaves out: FIFOs, and set-uid and set-gid bits.
func inArchive(t *testing.T, file string) map[string]string {
	t.Helper()
	f, err := os.Open(file)
	check(t, err)
	defer f.Close()
	found := map[string]string{}
	for archive := tar.NewReader(f); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return found
		}
		check(t, err)
		name := strings.TrimSuffix(header.Name, "/")
		if ofDocker(name) || header.Typeflag == tar.TypeFifo {
			continue
		}
		data, err := io.ReadAll(archive)
		check(t, err)
		if header.Typeflag == tar.TypeLink {
			found[name] = found[header.Linkname]
			continue
		}
		found[name] = fmt.Sprintf("%c %o %d:%d %d %d %s", header.Typeflag, header.Mode&0o1777, header.Uid, header.Gid, len(data), len(header.Linkname), header.Linkname)
	}
}

func unpacked(t *testing.T, root string) map[string]string {
	t.Helper()
	found := map[string]string{}
	check(t, filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		check(t, err)
		name, err := filepath.Rel(root, path)
		check(t, err)
		if name == "." || ofDocker(name) {
			return nil
		}
		var st unix.Stat_t
		check(t, unix.Lstat(path, &st))
		kind, size, link := byte(tar.TypeReg), st.Size, ""
		switch {
		case e.IsDir():
			kind, size = tar.TypeDir, 0
		case e.Type() == fs.ModeSymlink:
			link, err = os.Readlink(path)
			check(t, err)
			kind, size = tar.TypeSymlink, 0
		}
		found[name] = fmt.Sprintf("%c %o %d:%d %d %d %s", kind, st.Mode&0o1777, st.Uid, st.Gid, size, len(link), link)
		return nil
	}))
	return found
}

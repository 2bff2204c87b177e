package rootfs

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/host"
	"github.com/creel-sandbox/creel/runner/image"
)

// TestMain moves the tests into a mount namespace of their own, as creeld
// does with itself: they mount for real and leave nothing behind.
func TestMain(m *testing.M) {
	ours, err := os.Readlink("/proc/self/ns/mnt")
	parents, parentErr := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", os.Getppid()))
	if err := errors.Join(err, parentErr); err == nil && ours == parents {
		fmt.Fprintln(os.Stderr, host.EnterMountNamespace(os.Args))
		os.Exit(1)
	}
	unix.Umask(0o022)
	os.Exit(m.Run())
}

var who = Identity{Name: "sandbox", Group: "sandbox", UID: 61234, GID: 61234}

// rig is a stage and a directory with sources.
type rig struct {
	*Stage
	t      *testing.T
	images *image.Store
	dir    string
	init   string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir()}
	r.init = r.file("creel-init", "init")
	r.mkdir("stage")
	mounts := mountCount(t)
	var err error
	r.images, err = image.Open(r.dir + "/images")
	check(t, err)
	stage, err := NewStage(r.dir+"/stage", r.images)
	check(t, err)
	r.Stage = stage
	t.Cleanup(func() {
		check(t, stage.Close())
		if left := mountCount(t); left != mounts {
			t.Errorf("%d mounts before, %d after", mounts, left)
		}
	})
	return r
}

func (r *rig) mkdir(name string) string {
	r.t.Helper()
	check(r.t, os.MkdirAll(filepath.Join(r.dir, name), 0o755))
	return filepath.Join(r.dir, name)
}

func (r *rig) file(name, text string) string {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	check(r.t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

// declare is a policy with a host root and one writable mount.
func declare(source, target string) *policy.Policy {
	return &policy.Policy{Name: "p", Root: policy.Root{Host: true},
		Mounts: []policy.Mount{{Kind: policy.MountWorkspace, Source: source, Target: target, Writable: true}}}
}

func (r *rig) acquire(p *policy.Policy) *Tree {
	r.t.Helper()
	tree, err := r.Acquire(p, who, r.init)
	check(r.t, err)
	r.t.Cleanup(func() { check(r.t, tree.Release()) })
	return tree
}

func mountCount(t *testing.T) int {
	t.Helper()
	data, err := os.ReadFile("/proc/self/mountinfo")
	check(t, err)
	return strings.Count(string(data), "\n")
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	check(t, err)
	return string(data)
}

func TestUnusableSourceIsRefused(t *testing.T) {
	r := newRig(t)
	real := r.mkdir("real/inner")
	check(t, os.Symlink(r.dir+"/real", r.dir+"/link"))
	check(t, syscall.Mkfifo(r.dir+"/fifo", 0o644))
	check(t, unix.Mknod(r.dir+"/device", unix.S_IFCHR|0o644, int(unix.Mkdev(1, 3))))
	socket, err := net.Listen("unix", r.dir+"/socket")
	check(t, err)
	defer socket.Close()
	t.Chdir(r.dir)
	r.acquire(declare(real, "/workspace")) // the control
	for _, c := range []struct{ source, told string }{
		{r.dir + "/missing", "does not exist"},
		{r.dir + "/link", "symlink"},
		{r.dir + "/link/inner", "symlink"},
		{"/proc/self/root" + r.dir + "/real", "symlink"},
		{fmt.Sprintf("/proc/self/fd/%d", 1), "symlink"},
		{"real", "not an absolute path"},
		{r.dir + "/fifo", "neither a directory nor a regular file"},
		{r.dir + "/device", "neither a directory nor a regular file"},
		{r.dir + "/socket", "neither a directory nor a regular file"},
		{r.init + "/below", "not a directory"},
	} {
		for _, p := range []*policy.Policy{declare(c.source, "/workspace"), {Name: "r", Root: policy.Root{Dir: c.source}}} {
			tree, err := r.Acquire(p, who, r.init)
			var problem *SourceError
			if !errors.As(err, &problem) || problem.Path != c.source || tree != nil {
				t.Errorf("%s: got %v", c.source, err)
			} else if p.Name == "p" && !strings.Contains(err.Error(), c.told) {
				t.Errorf("%s: told %q, want %q in it", c.source, err, c.told)
			}
		}
	}
	var missing *image.NotFoundError
	if _, err := r.Acquire(&policy.Policy{Name: "i", Root: policy.Root{Image: "x"}}, who, r.init); !errors.As(err, &missing) {
		t.Errorf("an image that is not here: %v", err)
	}
	if _, err := r.Acquire(declare(real, "/workspace"), who, r.dir+"/no-init"); err == nil {
		t.Error("a missing creel-init is not refused")
	}
}

func TestSourceIsFoundAtItsTarget(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"plain", "with space", "new\nline", "comma,colon:", `back\slash\040`, "üñí\xff", "-dash"} {
		source := r.mkdir("odd/" + name)
		check(t, os.WriteFile(source+"/me", []byte(name), 0o644))
		p := declare(source, "/workspace/deep/er")
		tree := r.acquire(p)
		if got := read(t, tree.Path+"/workspace/deep/er/me"); got != name {
			t.Errorf("%q: found %q", name, got)
		}
		check(t, os.WriteFile(tree.Path+"/workspace/deep/er/new", nil, 0o644)) // mode: rw
		p.Mounts[0].Writable = false
		if err := os.WriteFile(r.acquire(p).Path+"/workspace/deep/er/new2", nil, 0o644); !errors.Is(err, unix.EROFS) {
			t.Errorf("%q: mode ro: %v", name, err)
		}
		if entries, err := os.ReadDir(source); err != nil || len(entries) != 2 {
			t.Errorf("%q: creel left something in it: %v %v", name, entries, err)
		}
	}
	file := r.file("single", "text")
	if got := read(t, r.acquire(declare(file, "/data/config")).Path+"/data/config"); got != "text" {
		t.Errorf("a file source: %q", got)
	}
}

func TestRootIsReadOnlyAndHoldsWhatIsDeclared(t *testing.T) {
	r := newRig(t)
	tree := r.acquire(declare(r.mkdir("w"), "/workspace"))
	for _, name := range []string{"/x", "/etc/x", "/usr/x", "/.creel/x", "/tmp/x"} {
		if err := os.WriteFile(tree.Path+name, nil, 0o644); !errors.Is(err, unix.EROFS) {
			t.Errorf("write %s: %v", name, err)
		}
	}
	names := func(dir string) (found []string) {
		entries, err := os.ReadDir(tree.Path + dir)
		check(t, err)
		for _, e := range entries {
			found = append(found, e.Name())
		}
		return found
	}
	documented := map[string][]string{
		"/": {".creel", "bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "tmp", "usr", "workspace"},
		"/etc": {"alternatives", "group", "hosts", "ld.so.cache", "localtime", "nsswitch.conf", "passwd",
			"resolv.conf", "ssl"},
		"/etc/ssl": {"certs", "openssl.cnf"}, "/.creel": {"init"}, "/dev": nil, "/proc": nil, "/tmp": nil,
	}
	for dir, allowed := range documented {
		for _, name := range names(dir) {
			if !slices.Contains(allowed, name) {
				t.Errorf("%s holds %s", dir, name)
			}
		}
	}
	if got := read(t, tree.Path+"/etc/passwd"); got != "sandbox:x:61234:61234::/tmp:/bin/sh\n" {
		t.Errorf("passwd: %q", got)
	}
	if !slices.Contains(names("/usr"), "bin") || read(t, tree.Path+InitTarget) != "init" || read(t, tree.Path+"/etc/resolv.conf") != "" {
		t.Error("control: /usr, creel-init or an empty resolv.conf is missing")
	}
	if st := stat(t, tree.Path); st.Dev != tree.Dev || st.Ino != tree.Ino {
		t.Errorf("the root is %d:%d, the tree says %d:%d", st.Dev, st.Ino, tree.Dev, tree.Ino)
	}
	for _, m := range tree.Mounts {
		if st := stat(t, tree.Path+m.Target); st.Dev != m.Dev || st.Ino != m.Ino {
			t.Errorf("%s is %d:%d, the tree says %d:%d", m.Target, st.Dev, st.Ino, m.Dev, m.Ino)
		}
	}
}

func stat(t *testing.T, path string) unix.Stat_t {
	t.Helper()
	var st unix.Stat_t
	check(t, unix.Stat(path, &st))
	return st
}

// mountTmpfs mounts a tmpfs with the flags given, until the test ends.
func mountTmpfs(t *testing.T, dir string, flags uintptr) {
	t.Helper()
	check(t, unix.Mount("test", dir, "tmpfs", flags, "size=1m"))
	t.Cleanup(func() { check(t, unix.Unmount(dir, unix.MNT_DETACH)) })
}

func TestFlagsOfASourcesOwnMountAreKept(t *testing.T) {
	r := newRig(t)
	source := r.mkdir("noexec")
	mountTmpfs(t, source, unix.MS_NOEXEC)
	for source, noExec := range map[string]bool{source: true, r.mkdir("plain"): false} {
		tree := r.acquire(declare(source, "/workspace"))
		var fs unix.Statfs_t
		check(t, unix.Statfs(tree.Path+"/workspace", &fs))
		mount := tree.Mounts[len(tree.Mounts)-1]
		if got := fs.Flags&unix.ST_NOEXEC != 0; got != noExec || mount.NoExec != noExec {
			t.Errorf("%s: noexec %v, the tree says %v", source, got, mount.NoExec)
		}
		if fs.Flags&unix.ST_NOSUID == 0 || fs.Flags&unix.ST_NODEV == 0 {
			t.Errorf("%s: flags %#x", source, fs.Flags)
		}
	}
}

func TestMountsBelowASourceAreNotSeen(t *testing.T) {
	r := newRig(t)
	source, inner := r.mkdir("w"), r.mkdir("w/inner")
	mountTmpfs(t, inner, 0)
	check(t, os.WriteFile(inner+"/secret", nil, 0o644))
	tree := r.acquire(declare(source, "/workspace"))
	if entries, err := os.ReadDir(tree.Path + "/workspace/inner"); err != nil || len(entries) != 0 {
		t.Errorf("sees %v, %v", entries, err)
	}
	// Neither are those that come later, nor do the tree's reach the source.
	late := r.mkdir("w/late")
	mountTmpfs(t, late, 0)
	check(t, os.WriteFile(late+"/secret", nil, 0o644))
	if entries, err := os.ReadDir(tree.Path + "/workspace/late"); err != nil || len(entries) != 0 {
		t.Errorf("sees %v, %v", entries, err)
	}
	if entries, err := os.ReadDir(late); err != nil || len(entries) != 1 {
		t.Errorf("control: %v, %v", entries, err)
	}
}

// A mount of kind exec is a socket that can be connected to, and nothing else.
func TestExecMountIsASocket(t *testing.T) {
	r := newRig(t)
	path := r.dir + "/agent.sock"
	socket, err := net.Listen("unix", path)
	check(t, err)
	defer socket.Close()
	p := declare(r.mkdir("workspace"), "/workspace")
	p.Mounts = append(p.Mounts, policy.Mount{Kind: policy.MountExec, Source: path, Target: "/run/creel/exec.sock"})
	inside := r.acquire(p).Path + "/run/creel/exec.sock"
	conn, err := net.Dial("unix", inside)
	if err != nil {
		t.Fatalf("connect through a mount that is read-only: %v", err)
	}
	conn.Close()
	if err := os.Remove(inside); err == nil {
		t.Error("it can be removed")
	}
	for _, wrong := range []string{r.file("regular", ""), r.mkdir("directory"), ""} {
		p.Mounts[1].Source = wrong
		var problem *SourceError
		if _, err := r.Acquire(p, who, r.init); !errors.As(err, &problem) || problem.Path != wrong {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

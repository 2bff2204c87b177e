package docker

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/engine"
)

// What the host is asked to show of itself, it shows, and the command runs as
// it was told, on each kind of root.
func TestCommandRunsOnEveryRoot(t *testing.T) {
	r := realRig(t)
	dir := r.dir + "/root"
	for _, name := range []string{"bin", "etc", "proc", "srv/deep", "workspace"} {
		check(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
	}
	for _, name := range []string{"hostname", "hosts", "resolv.conf"} {
		check(t, os.WriteFile(dir+"/etc/"+name, []byte("of-the-directory"), 0o644))
	}
	data, err := os.ReadFile("/bin/busybox")
	check(t, err)
	check(t, os.WriteFile(dir+"/bin/sh", data, 0o755))
	image := r.daemon.Import(smallRoot(t), "test-root", "ENV SPY=1", "ENV LD_PRELOAD=/x", "HEALTHCHECK CMD /bin/true")
	for name, root := range map[string]policy.Root{
		"host": {Host: true}, "dir": {Dir: dir}, "byname": {Image: "test-root:latest"}, "byid": {Image: "test-root@" + image},
	} {
		before := countEntries(t, dir)
		got := r.run(name, r.policy(root), "/bin/sh", "-c", `echo "$(id -u 2>/dev/null || busybox id -u) $SPY $CANARY" && > made && echo /sys/* /sys/fs/cgroup/* /.creel/control/* && while read line; do echo "$line"; done </etc/hosts && read line </etc/resolv.conf; echo $line`)
		if want := "61234  " + canary + "\n/sys/fs /sys/fs/cgroup/* /.creel/control/*\n127.0.0.1 localhost\n\n"; got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
		if _, err := os.Stat(r.dir + "/workspace/made"); err != nil {
			t.Errorf("%s: %v: %s", name, err, got)
		}
		check(t, os.RemoveAll(r.dir+"/workspace/made"))
		if after := countEntries(t, dir); after != before {
			t.Errorf("%s: %d entries in the root directory before, %d after", name, before, after)
		}
	}
	r.gone()
	if log := r.daemon.Log(); strings.Contains(log, canary) || !strings.Contains(log, r.called("host")) {
		t.Error("the daemon's log has the credential, or not even what it was told")
	}
}

func countEntries(t *testing.T, dir string) (n int) {
	t.Helper()
	check(t, filepath.WalkDir(dir, func(string, os.DirEntry, error) error { n++; return nil }))
	return n
}

// The daemon is told of creel-init and of no command, on its own files too.
func TestDaemonNeverHearsOfTheCommand(t *testing.T) {
	r := realRig(t)
	b := r.create("quiet", r.policy(hostRoot))
	out := b.start(t, "/bin/sh", "-c", "echo here; exec sleep 1000 # "+canary)
	line := make([]byte, 5)
	_, err := out.Read(line)
	check(t, err)
	inspect := r.daemon.Docker("inspect", r.called("quiet"))
	var told []struct {
		Config struct{ Env, Cmd, Entrypoint []string }
	}
	check(t, json.Unmarshal([]byte(inspect), &told))
	if got := told[0].Config; !slices.Equal(got.Entrypoint, []string{"/.creel/init"}) || !slices.Equal(got.Cmd, []string{"/.creel/control/socket"}) {
		t.Errorf("told of %+v", got)
	}
	for _, where := range []string{inspect, r.daemon.Log(), readAll(t, r.daemon.Dir)} {
		if strings.Contains(where, canary) {
			t.Error("the daemon was told the command")
		}
	}
	// The control: what is given to the daemon is found in all three.
	r.daemon.Docker("create", "--name", "told", "--env", "CANARY=control-"+canary, "--network", "none", r.prepare(r.policy(hostRoot)).Image, "/x")
	if !strings.Contains(readAll(t, r.daemon.Dir), "control-"+canary) {
		t.Error("control: docker create --env is not found")
	}
	r.daemon.Docker("rm", "told")
	check(t, r.Remove(t.Context(), "quiet"))
	r.gone()
}

// readAll is every file that the daemon keeps of containers.
func readAll(t *testing.T, dir string) string {
	t.Helper()
	var all strings.Builder
	for _, part := range []string{dir + "/data/containers", dir + "/data/containerd", dir + "/exec", dir + "/log"} {
		check(t, filepath.WalkDir(part, func(path string, entry os.DirEntry, err error) error {
			if err == nil && entry.Type().IsRegular() {
				if data, err := os.ReadFile(path); err == nil {
					all.Write(data)
				}
			}
			return nil
		}))
	}
	return all.String()
}

func TestPolicyThatDockerCannotKeepIsRefused(t *testing.T) {
	r := realRig(t)
	r.daemon.Import(smallRoot(t), "good")
	r.daemon.Import(smallRoot(t), "volumes", "VOLUME /data")
	pinned := "good@sha256:" + strings.Repeat("0", 64)
	withNamespace := r.policy(hostRoot)
	withNamespace.UserNamespace = policy.UserNamespaceRequired
	session := r.policy(hostRoot)
	session.Scope = policy.ScopeSession
	below := r.policy(hostRoot)
	below.Mounts[0].Target = "/usr/no/such/directory"
	check(t, os.MkdirAll(r.dir+"/root/etc", 0o755))
	for told, p := range map[string]*policy.Policy{
		"":                                       r.policy(policy.Root{Image: "good:latest"}), // the control
		"userNamespace: off":                     withNamespace,
		"scope: command":                         session,
		"VOLUME":                                 r.policy(policy.Root{Image: "volumes:latest"}),
		"docker pull":                            r.policy(policy.Root{Image: "absent:latest"}),
		"is not in the Docker daemon":            r.policy(policy.Root{Image: pinned}),
		"/usr/no/such/directory: does not exist": below,
		"root/etc/hostname: does not exist":      r.policy(policy.Root{Dir: r.dir + "/root"}),
	} {
		_, err := r.Prepare(t.Context(), p, who)
		if told == "" && err != nil || told != "" && (err == nil || !strings.Contains(err.Error(), told)) {
			t.Errorf("%q: got %v", told, err)
		}
	}
	if _, err := os.Lstat("/usr/no"); err == nil {
		t.Error("something was made in the host's /usr")
	}
}

// A sandbox that exists is not harmed by a second one that wants its ID.
func TestCreateRefusesAnIDInUse(t *testing.T) {
	r := realRig(t)
	p := r.policy(hostRoot)
	r.create("taken", p)
	root := r.prepare(p)
	if _, err := r.Create(t.Context(), request("taken", p, root)); !os.IsExist(unwrapAll(err)) {
		t.Errorf("got %v", err)
	}
	if listed, err := r.List(t.Context()); err != nil || len(listed) != 1 || listed[0].ID != "taken" {
		t.Errorf("the first one: %v, %v", listed, err)
	} else if pids, err := listed[0].Group.Procs(); err != nil || len(pids) != 1 {
		t.Errorf("its processes: %v, %v", pids, err)
	}
	check(t, r.Remove(t.Context(), "taken"))
	check(t, r.Remove(t.Context(), "taken")) // twice does no harm
	r.gone()
}

func unwrapAll(err error) error {
	for {
		inner, ok := err.(interface{ Unwrap() error })
		if !ok || os.IsExist(err) {
			return err
		}
		err = inner.Unwrap()
	}
}

// The image of a root is made once, again when it has changed or is missing,
// and removed with its last user.
func TestSkeletonImagesComeAndGo(t *testing.T) {
	r := realRig(t)
	p := r.policy(hostRoot)
	images := func() []string {
		out := r.daemon.Docker("images", "--quiet", "--no-trunc")
		return strings.Fields(out)
	}
	first, again := r.prepare(p), r.prepare(p)
	if first.Image != again.Image || len(images()) != 1 {
		t.Errorf("%s and %s of %v", first.Image, again.Image, images())
	}
	p.Mounts[0].Target = "/elsewhere"
	second := r.prepare(p)
	if second.Image == first.Image || len(images()) != 2 {
		t.Errorf("a changed policy: %s of %v", second.Image, images())
	}
	check(t, first.Release())
	check(t, again.Release())
	check(t, again.Release()) // twice counts once
	if got := images(); !slices.Equal(got, []string{second.Image}) {
		t.Errorf("after the last use: %v", got)
	}
	r.daemon.Docker("image", "rm", "--force", second.Image)
	third := r.prepare(p)
	if got := images(); !slices.Equal(got, []string{third.Image}) {
		t.Errorf("after somebody removed it: %v", got)
	}
	// A supervisor that was killed leaves its image to the next one.
	next := r.open(r.daemon.Socket, 0)
	root, err := next.Prepare(context.Background(), p, who)
	check(t, err)
	check(t, root.Release())
	if got := images(); !slices.Equal(got, []string{root.Image}) {
		t.Errorf("of the next supervisor: %v", got)
	}
	check(t, next.Keep(nil))
	if got := images(); len(got) != 0 {
		t.Errorf("of no policy any more: %v", got)
	}
	check(t, os.MkdirAll(r.stateDir(), 0o700))
	check(t, next.Close())
	check(t, os.MkdirAll(r.stateDir(), 0o700))
}

// An image with a symlink where something is mounted is refused, and nothing
// is made where the symlink leads; those that the daemon replaces do no harm,
// and a /tmp that is closed to others is open to the sandbox's user.
func TestSymlinksOfAnImageAreNotFollowed(t *testing.T) {
	r := realRig(t)
	link := func(name, target string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target, Mode: 0o777}
	}
	for name, c := range map[string]struct {
		header  tar.Header
		refused bool
	}{
		"target": {link("workspace", "etc"), true},
		"init":   {link(".creel", "workspace"), true},
		"tmp":    {link("tmp", "workspace"), true},
		"dev":    {link("dev", "workspace"), false},
		"proc":   {link("proc", "/workspace"), false},
		"sys":    {link("sys", "../../workspace"), false},
		"etc":    {link("etc", "workspace"), false},
		"hosts":  {link("etc/hosts", "../workspace/hosts"), false},
		"closed": {tar.Header{Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o700}, false},
		"plain":  {tar.Header{Name: "srv/", Typeflag: tar.TypeDir, Mode: 0o755}, false}, // the control
	} {
		r.daemon.Import(smallRoot(t, c.header), "links:"+name)
		p := r.policy(policy.Root{Image: "links:" + name})
		if c.refused {
			if _, err := r.Prepare(t.Context(), p, who); !errors.Is(err, engine.ErrRefused) {
				t.Errorf("%s: got %v", name, err)
			}
		} else if got := r.run(name, p, "/bin/sh", "-c", "echo x > /tmp/x && busybox cat /tmp/x /etc/hosts; echo /proc/1 /sys/*"); got != "x\n127.0.0.1 localhost\n/proc/1 /sys/fs\n" {
			t.Errorf("%s: got %q", name, got)
		}
		if entries, err := os.ReadDir(r.dir + "/workspace"); err != nil || len(entries) != 0 {
			t.Errorf("%s: made in the workspace: %v, %v", name, entries, err)
		}
	}
	r.gone()
}

// A daemon goes on with what a supervisor asked for that is killed: then two
// imports of one root are there, and only the later has its name.
func TestImagesThatAKilledSupervisorLeftAreRemoved(t *testing.T) {
	r := realRig(t)
	made := func(key string) string {
		archive, err := io.ReadAll(smallRoot(t))
		check(t, err)
		id, err := r.importImage(t.Context(), archive, key)
		check(t, err)
		return id
	}
	twice := strings.Repeat("a", 12)
	left := []string{made(twice), made(twice)}
	kept := made(strings.Repeat("b", 12)) // the control: somebody uses it under a name of his own
	r.daemon.Docker("tag", kept, "somebodys:own")
	next := r.open(r.daemon.Socket, 0)
	root, err := next.Prepare(t.Context(), r.policy(hostRoot), who)
	check(t, err)
	defer func() { check(t, errors.Join(root.Release(), next.Close())) }()
	images := r.daemon.Docker("images", "--all", "--quiet", "--no-trunc")
	for _, id := range left {
		if strings.Contains(images, id) {
			t.Errorf("%s is still there:\n%s", id, images)
		}
	}
	if !strings.Contains(images, kept) {
		t.Errorf("%s is gone:\n%s", kept, images)
	}
}

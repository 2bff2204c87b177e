package docker

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/integration/dockerd"
	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/profiles"
	"github.com/creel-sandbox/creel/runner/cgroup"
	"github.com/creel-sandbox/creel/runner/engine"
	"github.com/creel-sandbox/creel/runner/host"
	"github.com/creel-sandbox/creel/runner/initproto"
	"github.com/creel-sandbox/creel/runner/rootfs"
)

// patience is how long a slow machine may take for anything.
const patience = 60 * time.Second

var who = rootfs.Identity{Name: "sandbox", Group: "sandbox", UID: 61234, GID: 61234}

// buildInit builds creel-init as it is shipped.
var buildInit = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("/tmp", "creel-docker-")
	if err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", dir+"/creel-init", "../../../cmd/creel-init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build creel-init: %w\n%s", err, out)
	}
	return dir + "/creel-init", os.Chmod(dir, 0o755)
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := buildInit(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// rig is an engine, and where its sandboxes' files are.
type rig struct {
	*Engine
	t      testing.TB
	daemon *dockerd.Daemon // nil with a stand-in for it
	dir    string
}

// newRig makes an engine for the daemon at a socket.
func newRig(t testing.TB, socket string, timeout time.Duration) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "creel-docker-")
	check(t, err)
	t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
	check(t, os.Chmod(dir, 0o711))
	check(t, os.Mkdir(dir+"/workspace", 0o755))
	check(t, os.Chown(dir+"/workspace", int(who.UID), int(who.GID)))
	r := &rig{t: t, dir: dir}
	r.Engine = r.open(socket, timeout)
	t.Cleanup(func() { check(t, r.Close()) })
	return r
}

// open makes an engine on the rig's directory, as another supervisor would.
func (r *rig) open(socket string, timeout time.Duration) *Engine {
	r.t.Helper()
	initPath, err := buildInit()
	check(r.t, err)
	parent, err := host.CgroupParent(r.dir)
	check(r.t, err)
	groups, err := cgroup.Open(parent)
	check(r.t, err)
	log := logrus.New()
	log.SetOutput(io.Discard)
	e, err := New(Config{
		Socket: socket, StateDir: r.dir, InitPath: initPath, Cgroups: groups, Floor: profiles.Floor(), Log: log, Timeout: timeout,
	})
	check(r.t, err)
	return e
}

// realRig is one with a real daemon.
func realRig(t testing.TB) *rig {
	t.Helper()
	daemon := dockerd.Start(t, dockerd.Options{Args: []string{"--debug"}})
	r := newRig(t, daemon.Socket, 0)
	r.daemon = daemon
	return r
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for something that another process brings about.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// policy is one that docker can keep.
func (r *rig) policy(root policy.Root) *policy.Policy {
	return &policy.Policy{
		Name: "p", Root: root, UserNamespace: policy.UserNamespaceOff, Tmp: policy.Tmp{Size: 1 << 20, Inodes: 100},
		Mounts: []policy.Mount{{Kind: policy.MountWorkspace, Source: r.dir + "/workspace", Target: "/workspace", Writable: true}},
		Limits: policy.Limits{Memory: 64 << 20, MilliCPU: 1500, Pids: 64, NoFile: 256},
	}
}

var hostRoot = policy.Root{Host: true}

func request(id string, p *policy.Policy, root *engine.Root) engine.Request {
	return engine.Request{ID: id, Policy: p, Who: who, Root: root}
}

func (r *rig) prepare(p *policy.Policy) *engine.Root {
	r.t.Helper()
	root, err := r.Prepare(r.t.Context(), p, who)
	check(r.t, err)
	return root
}

// box is a sandbox and the session with its init.
type box struct {
	*engine.Sandbox
	*initproto.Supervisor
}

func (r *rig) create(id string, p *policy.Policy) box {
	r.t.Helper()
	root := r.prepare(p)
	sandbox, err := r.Create(r.t.Context(), request(id, p, root))
	check(r.t, err)
	check(r.t, root.Release())
	session, err := initproto.NewSupervisor(sandbox.Control)
	check(r.t, err)
	r.t.Cleanup(func() { session.Close(); sandbox.Pidfd.Close() })
	_, err = session.Handshake(r.t.Context(), initproto.Setup{})
	check(r.t, err)
	return box{sandbox, session}
}

// run runs a command in a new sandbox and gives what it wrote.
func (r *rig) run(id string, p *policy.Policy, argv ...string) string {
	r.t.Helper()
	b := r.create(id, p)
	out := b.start(r.t, argv...)
	data, err := io.ReadAll(out)
	check(r.t, err)
	_, err = b.Wait()
	check(r.t, err)
	check(r.t, r.Remove(r.t.Context(), id))
	return string(data)
}

// start starts the one command and gives its output.
func (b box) start(t testing.TB, argv ...string) io.Reader {
	t.Helper()
	null, err := os.Open(os.DevNull)
	check(t, err)
	defer null.Close()
	read, write, err := os.Pipe()
	check(t, err)
	t.Cleanup(func() { read.Close() })
	defer write.Close()
	allowing := binary.NativeEndian.AppendUint16(nil, unix.BPF_RET|unix.BPF_K) // struct sock_filter (seccomp(2))
	allowing = binary.NativeEndian.AppendUint32(append(allowing, 0, 0), unix.SECCOMP_RET_ALLOW)
	job := initproto.Job{Cwd: "/workspace", Filter: allowing, Env: [][]byte{[]byte("PATH=/bin:/usr/bin"), []byte("CANARY=" + canary)}}
	for _, arg := range argv {
		job.Argv = append(job.Argv, []byte(arg))
	}
	check(t, b.Start(t.Context(), job, [3]syscall.Conn{null, write, write}))
	return read
}

// canary is what must not be found in anything the daemon keeps.
const canary = "a-credential-that-nobody-may-keep"

// smallRoot is the archive of a root with a shell, and with the entries given
// on top of it.
func smallRoot(t testing.TB, more ...tar.Header) io.Reader {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	check(t, err)
	data, err := os.ReadFile(busybox)
	check(t, err)
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	entries := []tar.Header{
		{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o755},
		{Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o4755, Size: int64(len(data))},
		{Name: "bin/sh", Typeflag: tar.TypeSymlink, Linkname: "busybox", Mode: 0o777},
	}
	for _, entry := range append(entries, more...) {
		check(t, archive.WriteHeader(&entry))
		if entry.Size > 0 {
			_, err := archive.Write(data)
			check(t, err)
		}
	}
	check(t, archive.Close())
	return &out
}

// gone checks that neither the daemon, the kernel nor the file system has
// anything of the sandboxes.
func (r *rig) gone() {
	r.t.Helper()
	if listed, err := r.List(context.Background()); err != nil || len(listed) != 0 {
		r.t.Errorf("still listed: %v, %v", listed, err)
	}
	if left := r.daemon.Containers(); len(left) != 0 {
		r.t.Errorf("the daemon still has %s", left)
	}
	if left, err := filepath.Glob("/sys/fs/cgroup/*" + r.groups[0].Parent + "/*/cgroup.procs"); err != nil || len(left) != 0 {
		r.t.Errorf("control groups: %v, %v", left, err)
	}
	if left, err := r.recordedIDs(); err != nil || len(left) != 0 {
		r.t.Errorf("state: %v, %v", left, err)
	}
}

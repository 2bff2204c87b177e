package supervisor

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/cgroup"
	"github.com/creel-sandbox/creel/runner/credential"
	"github.com/creel-sandbox/creel/runner/credential/store"
	"github.com/creel-sandbox/creel/runner/engine"
	"github.com/creel-sandbox/creel/runner/engine/oci"
	"github.com/creel-sandbox/creel/runner/host"
	"github.com/creel-sandbox/creel/runner/hygiene/keyring"
	"github.com/creel-sandbox/creel/runner/image"
	"github.com/creel-sandbox/creel/runner/lease"
	"github.com/creel-sandbox/creel/runner/rootfs"
	"github.com/creel-sandbox/creel/runner/server"
	"github.com/creel-sandbox/creel/runner/spec"
)

// nobody is the uid and gid of the sandboxes: no account has it.
const nobody = 61234

// runtimes are those that a promise is tested with.
var runtimes = []string{"crun", "runc"}

// TestMain moves the tests into a mount namespace of their own, as creeld
// does with itself, so that they can build trees and leave no mount behind.
func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	fail := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if !inOwnMountNamespace() {
		return fail(host.EnterMountNamespace(os.Args))
	}
	// Before it becomes a subreaper, which would adopt what go leaves running.
	if err := buildInit(); err != nil {
		return fail(err)
	}
	defer os.RemoveAll(filepath.Dir(initBinary))
	if err := host.Harden(); err != nil {
		return fail(err)
	}
	if cgroup.Hybrid() {
		if err := host.HideUnifiedTree(); err != nil {
			return fail(err)
		}
	}
	return m.Run()
}

func inOwnMountNamespace() bool {
	ours, err := os.Readlink("/proc/self/ns/mnt")
	parents, parentErr := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", os.Getppid()))
	return errors.Join(err, parentErr) == nil && ours != parents
}

// initBinary is creel-init, built for these tests.
var initBinary string

func buildInit() error {
	dir, err := os.MkdirTemp("", "creel-init-")
	if err != nil {
		return err
	}
	initBinary = filepath.Join(dir, "creel-init")
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", initBinary, "../../cmd/creel-init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build creel-init: %w\n%s", err, out)
	}
	return nil
}

// options change a rig from its defaults.
type options struct {
	runtime  string                            // a name in PATH or a path; default crun
	policy   string                            // lines added to exec-default
	more     map[string]string                 // further policies, by name: lines
	wrap     func(engine.Engine) engine.Engine // the engine that the supervisor gets
	provider credential.Provider               // of "exec:" and "vault:" credentials
	secrets  *store.Store                      // of "store:" credentials
}

// rig is a supervisor over a real engine.
type rig struct {
	*Supervisor
	t         *testing.T
	dir       string
	workspace string
	log       *lockedBuffer
	oci       engine.Engine
	stage     *rootfs.Stage
	// load is what the next Reload, and New, gets.
	load func() (*Declared, error)
}

func newRig(t *testing.T, o options) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "creel-")
	check(t, err)
	r := &rig{t: t, dir: dir, workspace: dir + "/workspace", log: &lockedBuffer{}}
	t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
	check(t, errors.Join(os.Chmod(dir, 0o711), os.Mkdir(r.workspace, 0o755), os.Chown(r.workspace, nobody, nobody),
		os.Mkdir(dir+"/run", 0o711), os.Mkdir(dir+"/run/roots", 0o711)))
	files := map[string]string{"exec-default": o.policy}
	for name, lines := range o.more {
		files[name] = lines
	}
	r.load = func() (*Declared, error) { return r.declare(files) }

	secrets := cmp.Or(o.secrets, store.New(store.Config{Dir: dir + "/secrets"}))
	cfg := Config{Secrets: secrets, Keyring: keyring.New(), Load: func() (*Declared, error) { return r.load() }, Log: logrus.New(), InitPath: initBinary,
		Credentials: credential.New(map[string]credential.Provider{"exec": o.provider, "vault": o.provider, "store": secrets})}
	cfg.Log.SetOutput(r.log)
	revokers := map[string]credential.Revoker{}
	if revoker, ok := o.provider.(credential.Revoker); ok {
		revokers["vault"] = revoker
	}
	cfg.Leases, err = lease.Open(dir+"/leases", revokers, cfg.Log)
	check(t, err)
	cfg.Cgroups, r.oci = r.engine(o)
	if o.wrap != nil {
		r.oci = o.wrap(r.oci)
	}
	cfg.Stage = r.stage
	cfg.Engines = map[policy.Engine]engine.Engine{policy.EngineOCI: r.oci}
	r.Supervisor, err = New(t.Context(), cfg)
	check(t, err)
	t.Cleanup(func() { check(t, r.Close()) })
	return r
}

func (r *rig) engine(o options) (*cgroup.Hierarchy, engine.Engine) {
	t := r.t
	if o.runtime == "" {
		o.runtime = runtimes[0]
	}
	runtime, err := exec.LookPath(o.runtime)
	check(t, err)
	parent, err := host.CgroupParent(r.dir)
	check(t, err)
	groups, err := cgroup.Open(parent)
	check(t, err)
	t.Cleanup(func() { check(t, groups.RemoveParent()) })
	floor, err := spec.Floor()
	check(t, err)
	lock, err := host.Lock(r.dir+"/run", 0)
	check(t, err)
	t.Cleanup(func() { lock.Close() })
	images, err := image.Open(r.dir + "/images")
	check(t, err)
	stage, err := rootfs.NewStage(r.dir+"/run/roots", images)
	check(t, err)
	t.Cleanup(func() { check(t, stage.Close()) })
	r.stage = stage
	e, err := oci.New(oci.Config{Runtime: runtime, StateDir: r.dir + "/run", Cgroups: groups, Seccomp: floor, Lock: lock,
		Stage: stage, InitPath: initBinary})
	check(t, err)
	t.Cleanup(func() { check(t, e.Close()) })
	return groups, e
}

// declare reads policies made of the defaults below and the lines given,
// which may replace top-level keys.
func (r *rig) declare(policies map[string]string) (*Declared, error) {
	files := fstest.MapFS{}
	for name, lines := range policies {
		text := lines + "\n"
		for _, k := range []struct{ key, value string }{
			{"apiVersion", "creel/v1"}, {"kind", "Policy"}, {"name", name},
			{"justification", "tests run commands"}, {"owner", "tests@example.org"}, {"reviewBy", "2099-01-01"},
			{"root", "{host: true}"}, {"user", fmt.Sprintf(`"%d:%[1]d"`, nobody)}, {"workdir", "/workspace"},
			{"mounts", "[{kind: workspace, source: " + r.workspace + ", target: /workspace, mode: rw}]"},
			{"limits", "{timeout: 1m}"}, {"callers", `{users: ["0"]}`},
		} {
			ofPolicy := k.key == "callers" || k.key == "limits"
			if !strings.Contains("\n"+lines, "\n"+k.key+":") && !(ofPolicy && strings.Contains(lines, "kind: Agent")) {
				text += k.key + ": " + k.value + "\n"
			}
		}
		files["policies/"+name+".yaml"] = &fstest.MapFile{Data: []byte(text)}
	}
	set, problems := policy.LoadSet(files, "policies")
	if policy.HasErrors(problems) {
		return nil, ProblemsError(problems)
	}
	filters, err := CompileFilters(set)
	return &Declared{Config: policy.DefaultConfig(), Policies: set, Filters: filters}, err
}

// call is one invocation under way.
type call struct {
	id      chan string // gets the id once the command runs
	done    chan struct{}
	control chan api.Control
	cancel  context.CancelCauseFunc
	result  *api.Result
	err     error
	stdout  *lockedBuffer
	stderr  *lockedBuffer
}

// start runs an invocation, as root, without waiting for its end.
func (r *rig) start(req *api.ExecRequest, stdin string) *call {
	r.t.Helper()
	stdio, in, out, errs := pipes(r.t)
	c := &call{id: make(chan string, 1), done: make(chan struct{}), control: make(chan api.Control),
		stdout: &lockedBuffer{}, stderr: &lockedBuffer{}}
	ctx, cancel := context.WithCancelCause(r.t.Context())
	c.cancel = cancel
	var copies sync.WaitGroup
	copies.Go(func() { io.Copy(c.stdout, out); out.Close() })
	copies.Go(func() { io.Copy(c.stderr, errs); errs.Close() })
	go func() { io.WriteString(in, stdin); in.Close() }()
	go func() {
		defer close(c.done)
		defer cancel(nil)
		c.result, c.err = r.Exec(ctx, server.Peer{}, req, stdio, c.control, func(id string) { c.id <- id })
		copies.Wait()
	}()
	return c
}

// pipes makes the pipes of a caller and gives its own ends.
func pipes(t *testing.T) (stdio server.Stdio, in, out, errs *os.File) {
	t.Helper()
	var err [3]error
	stdio.In, in, err[0] = os.Pipe()
	out, stdio.Out, err[1] = os.Pipe()
	errs, stdio.Err, err[2] = os.Pipe()
	check(t, errors.Join(err[:]...))
	return stdio, in, out, errs
}

// run runs a shell script to its end and until nothing of it is left.
func (r *rig) run(script string) *call {
	r.t.Helper()
	c := r.start(shell(script), "")
	<-c.done
	r.settle()
	return c
}

func shell(script string) *api.ExecRequest {
	return &api.ExecRequest{Policy: "exec-default", Argv: [][]byte{[]byte("sh"), []byte("-c"), []byte(script)}}
}

// started waits until the command of an invocation runs.
func (r *rig) started(c *call) string {
	r.t.Helper()
	select {
	case id := <-c.id:
		return id
	case <-c.done:
		r.t.Fatalf("ended before it was started: %v", c.err)
	}
	return ""
}

// settle waits until nothing of ended invocations is left to take away.
func (r *rig) settle() {
	r.t.Helper()
	r.eventually("nothing is left", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.live) == 0
	})
}

// eventually waits for what another goroutine or process brings about.
func (r *rig) eventually(what string, holds func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			r.t.Fatalf("not within 20 s: %s\n%s", what, r.log)
		}
	}
}

// leftovers is everything of a sandbox that there must not be once none is
// left: what the engine has, children, mounts, descriptors, bundles. A run of
// the runtime that failed may take a moment to end on a busy machine; it is
// collected by the next removal.
func (r *rig) leftovers() []string {
	r.t.Helper()
	left := r.look()
	for deadline := time.Now().Add(20 * time.Second); len(left) > 0 && time.Now().Before(deadline); left = r.look() {
		time.Sleep(5 * time.Millisecond)
		check(r.t, r.oci.Remove(r.t.Context(), "none"))
	}
	return left
}

func (r *rig) look() []string {
	r.t.Helper()
	var left []string
	listed, err := r.oci.List(r.t.Context())
	check(r.t, err)
	for _, l := range listed {
		left = append(left, "sandbox "+l.ID)
	}
	for _, dir := range []string{"sandboxes", "oci"} {
		entries, err := os.ReadDir(filepath.Join(r.dir, "run", dir))
		check(r.t, err)
		for _, entry := range entries {
			if entry.Name()[0] != '.' {
				left = append(left, "file "+dir+"/"+entry.Name())
			}
		}
	}
	children, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/children", os.Getpid()))
	check(r.t, err)
	for _, pid := range strings.Fields(string(children)) {
		status, err := os.ReadFile("/proc/" + pid + "/stat")
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
			continue // collected meanwhile
		}
		check(r.t, err)
		left = append(left, "child "+string(status))
	}
	return left
}

// descriptors counts what the test process has open.
func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	return len(entries)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// lockedBuffer is written by one goroutine while another reads it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// asAPI gives the error as callers get it.
func asAPI(t *testing.T, err error) *api.Error {
	t.Helper()
	var told *api.Error
	if !errors.As(err, &told) {
		t.Fatalf("want an error for the caller, got %v", err)
	}
	return told
}

func contains(list []string, part string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.Contains(s, part) })
}

// Package oci makes sandboxes with an OCI runtime, runc or crun, and no
// daemon: one run of the runtime makes the container and starts creel-init;
// what it made is taken away without it.
//
// It imports spec for the configuration, cgroup to see and clean what the
// runtime made, and never sends a command or a credential anywhere: those go
// over the control socket, whose one end the runtime passes to creel-init.
package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/cgroup"
	"github.com/creel-sandbox/creel/runner/engine"
	"github.com/creel-sandbox/creel/runner/pidfd"
	"github.com/creel-sandbox/creel/runner/rootfs"
	"github.com/creel-sandbox/creel/runner/spec"
)

// runtimeTimeout bounds one run of the runtime. A launch takes milliseconds;
// past this something is wrong (a hung mount, a frozen group).
const runtimeTimeout = 30 * time.Second

// Config is what the engine needs to know.
type Config struct {
	Runtime string // absolute path of runc or crun
	// StateDir holds one directory a sandbox, and the runtime's own state.
	StateDir string
	Cgroups  *cgroup.Hierarchy
	Seccomp  *specs.LinuxSeccomp
	// Stage is where the roots are built, and InitPath the creel-init in them.
	Stage    *rootfs.Stage
	InitPath string
	// Lock is held open by every run of the runtime, so that a supervisor that
	// takes the lock knows that none is under way.
	Lock *os.File
}

// Engine implements engine.Engine.
type Engine struct {
	cfg     Config
	stdio   *os.File
	sealed  sealed
	runs    runs
	adopted adopted
	orphans orphans
}

var _ engine.Engine = (*Engine)(nil)

// New prepares the state directories.
func New(cfg Config) (*Engine, error) {
	e := &Engine{cfg: cfg, sealed: sealed{path: cfg.Runtime, link: filepath.Join(cfg.StateDir, "runtime", filepath.Base(cfg.Runtime))}}
	for _, dir := range []string{e.bundles(), e.runtimeRoot()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make state directory: %w", err)
		}
	}
	fd, err := unix.MemfdCreate("stdio", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make standard streams of the runtime: %w", err)
	}
	e.stdio = os.NewFile(uintptr(fd), "stdio")
	return e, nil
}

// Close removes the engine's own directories, which hold no sandbox any more.
func (e *Engine) Close() error {
	e.orphans.close(e)
	return errors.Join(e.sealed.close(), e.stdio.Close(),
		os.Remove(e.bundles()), os.RemoveAll(e.runtimeRoot()))
}

func (e *Engine) bundles() string          { return filepath.Join(e.cfg.StateDir, "sandboxes") }
func (e *Engine) bundle(id string) string  { return filepath.Join(e.bundles(), id) }
func (e *Engine) runtimeRoot() string      { return filepath.Join(e.cfg.StateDir, "oci") }
func (e *Engine) logPath(id string) string { return filepath.Join(e.bundle(id), "runtime.log") }
func (e *Engine) pidPath(id string) string { return filepath.Join(e.bundle(id), "pid") }

// Prepare implements engine.Engine.
func (e *Engine) Prepare(_ context.Context, p *policy.Policy, who rootfs.Identity) (*engine.Root, error) {
	tree, err := e.cfg.Stage.Acquire(p, who, e.cfg.InitPath)
	if err != nil {
		return nil, err
	}
	return &engine.Root{View: tree.View, Path: tree.Path, Release: tree.Release}, nil
}

// Keep implements engine.Engine.
func (e *Engine) Keep(policies []string) error { return e.cfg.Stage.Keep(policies) }

// Create implements engine.Engine.
func (e *Engine) Create(ctx context.Context, req engine.Request) (_ *engine.Sandbox, err error) {
	// Before the undo below, which must never remove another sandbox of this ID.
	if err := os.Mkdir(e.bundle(req.ID), 0o700); err != nil {
		return nil, fmt.Errorf("make bundle: %w", err)
	}
	defer func() {
		if err != nil {
			// The caller's context may be what ended the launch.
			err = errors.Join(err, e.Remove(context.WithoutCancel(ctx), req.ID))
		}
	}()
	if err := e.writeBundle(req); err != nil {
		return nil, err
	}
	ours, theirs, err := socketpair()
	if err != nil {
		return nil, fmt.Errorf("make control socket: %w", err)
	}
	defer theirs.Close()
	// Debian's runc and crun keep descriptors 3 to 3+N for --preserve-fds N and
	// close the lock, which comes after; the posture shows if one did not.
	err = e.runtime(ctx, req.ID, []*os.File{theirs, e.cfg.Lock},
		"run", "--detach", "--preserve-fds", "1", "--pid-file", e.pidPath(req.ID), "--bundle", e.bundle(req.ID), req.ID)
	if err != nil {
		ours.Close()
		return nil, fmt.Errorf("start container: %w", err)
	}
	sandbox, err := e.adopt(req.ID, ours)
	if err != nil {
		ours.Close()
		return nil, err
	}
	e.orphans.collect(e)
	return sandbox, nil
}

func (e *Engine) writeBundle(req engine.Request) error {
	// The most that a sandbox can be given: nothing in a user namespace can
	// raise it (setrlimit(2)).
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("read limit of open files: %w", err)
	}
	tmp := ""
	if req.Tmp != nil {
		tmp = req.Tmp.Path
	}
	config := spec.Build(spec.Input{
		Tmp:    tmp,
		Policy: req.Policy, UID: req.Who.UID, GID: req.Who.GID,
		Rootfs: req.Root.Path, CgroupsPath: e.cfg.Cgroups.Path(req.ID),
		Init: rootfs.InitTarget, Seccomp: e.cfg.Seccomp, InitFiles: files.Max,
	})
	data, err := json.Marshal(config)
	if err != nil {
		return fmt.Errorf("encode OCI configuration: %w", err)
	}
	if err := os.WriteFile(filepath.Join(e.bundle(req.ID), "config.json"), data, 0o600); err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	return nil
}

func socketpair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control-init")
	defer ours.Close() // FileConn duplicates it
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn.(*net.UnixConn), theirs, nil
}

// adopt takes charge of the init that the runtime left behind: the
// supervisor is its parent now (PR_SET_CHILD_SUBREAPER, prctl(2)).
func (e *Engine) adopt(id string, control *net.UnixConn) (*engine.Sandbox, error) {
	pid, err := e.recordedPid(id)
	if err != nil {
		return nil, err
	}
	e.adopted.add(id, pid)
	held, err := pidfd.Open(pid)
	if err != nil {
		return nil, fmt.Errorf("hold init: %w", err)
	}
	return &engine.Sandbox{
		ID: id, Pid: pid, Pidfd: held, Control: control, Group: e.cfg.Cgroups.Group(id),
	}, nil
}

// recordedPid is the pid of the init as the runtime wrote it down.
func (e *Engine) recordedPid(id string) (int, error) {
	data, err := os.ReadFile(e.pidPath(id))
	if err != nil {
		return 0, fmt.Errorf("read pid of init: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0, fmt.Errorf("parse pid of init: %w", err)
	}
	return pid, nil
}

// List implements engine.Engine.
func (e *Engine) List(context.Context) ([]engine.Listed, error) {
	ids, err := e.cfg.Cgroups.List()
	if err != nil {
		return nil, err
	}
	for _, dir := range []string{e.bundles(), e.runtimeRoot()} {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("list sandboxes: %w", err)
		}
		for _, entry := range entries {
			if entry.IsDir() && entry.Name()[0] != '.' {
				ids = append(ids, entry.Name())
			}
		}
	}
	slices.Sort(ids)
	var listed []engine.Listed
	for _, id := range slices.Compact(ids) {
		listed = append(listed, engine.Listed{ID: id, Group: e.cfg.Cgroups.Group(id)})
	}
	return listed, nil
}

// runtime runs the OCI runtime once. What it has to say goes to a log file.
//
// Its standard streams are a file in memory, which creel-init inherits and
// replaces, and never a device: crun gives what is there to the sandbox's
// user, who would own the host's /dev/null and could close it to everyone.
func (e *Engine) runtime(ctx context.Context, id string, files []*os.File, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, runtimeTimeout)
	defer cancel()
	leash, err := newLeash()
	if err != nil {
		return err
	}
	defer leash.close()
	global := []string{"--root", e.runtimeRoot(), "--log", e.logPath(id), "--log-format", "json"}
	cmd := exec.CommandContext(ctx, e.sealed.executable(), append(global, args...)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = e.stdio, e.stdio, e.stdio
	cmd.ExtraFiles = append(files, leash.held)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	if err = e.runs.start(cmd); err != nil {
		return fmt.Errorf("start %s: %w", e.cfg.Runtime, err)
	}
	if err = e.runs.wait(cmd); err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	// What it had started is orphaned and the supervisor's to end.
	_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	collect(-cmd.Process.Pid)
	err = errors.Join(err, leash.end())
	if said := e.lastLog(id); said != "" {
		return fmt.Errorf("%s %s: %w: %s", filepath.Base(e.cfg.Runtime), args[0], err, said)
	}
	return fmt.Errorf("%s %s: %w", filepath.Base(e.cfg.Runtime), args[0], err)
}

// lastLog is the message of the last line the runtime logged.
func (e *Engine) lastLog(id string) string {
	data, err := os.ReadFile(e.logPath(id))
	if err != nil {
		return ""
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	var entry struct {
		Msg string `json:"msg"`
	}
	if json.Unmarshal(lines[len(lines)-1], &entry) != nil {
		return string(lines[len(lines)-1])
	}
	return entry.Msg
}

// Package testrig starts a real supervisor on a temporary directory and runs
// the real client against it, for the tests of the folders beside it.
//
// It imports nothing of runner, since it knows of creel what an operator
// does: its commands and files. It never ends a process it did not start.
package testrig

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// User is the uid and gid that sandboxes of a rig run as: nobody's account.
const User = 61234

// Runtimes are the OCI runtimes that a promise is tested with.
var Runtimes = []string{"crun", "runc"}

// Rig is one running supervisor.
type Rig struct {
	t         testing.TB
	Target    Target
	Dir       string // of everything below
	Workspace string // mounted rw at /workspace by the default policy
	Policies  string
	config    string
	env, args []string
	bin       string

	creeld *exec.Cmd
	killed bool // and not started again
	group  string
	log    *lockedBuffer
	stderr io.Writer // the log, and a copy of it where one is asked for
}

// Options change a rig from its defaults.
type Options struct {
	Runtime string // default crun
	// Target, where it is set, says what makes the sandboxes and of which root.
	Target Target
	// Env is added to the supervisor's environment, and Args to its flags.
	Env, Args []string
	// Log gets a copy of what the supervisor logs.
	Log io.Writer
	// Binaries is the directory of binaries built before, by Build; left out,
	// they are built now.
	Binaries string
	// Config is added to creel.yaml.
	Config string
	// Policy is added to the default policy, exec-default.
	Policy string
}

// Start makes the directories and one policy, exec-default, and starts a
// supervisor that ends with the test.
func Start(t testing.TB, o Options) *Rig {
	t.Helper()
	if o.Target == (Target{}) {
		o.Target = Target{Maker: cmp.Or(o.Runtime, Runtimes[0]), Root: "host"}
	}
	if o.Binaries == "" {
		o.Binaries = Binaries(t)
	}
	// Short, since a socket's path has at most 107 bytes (unix(7)), and
	// passable, since the sandbox's user walks it.
	dir, err := os.MkdirTemp("/tmp", "creel-")
	check(t, err)
	t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
	r := &Rig{t: t, Target: o.Target, Dir: dir, Workspace: dir + "/workspace", Policies: dir + "/policies", config: dir + "/creel.yaml",
		env: o.Env, args: o.Args, bin: o.Binaries, log: &lockedBuffer{}}
	r.stderr = r.log
	if o.Log != nil {
		r.stderr = io.MultiWriter(r.log, o.Log)
	}
	check(t, os.Chmod(dir, 0o711))
	check(t, os.Mkdir(r.Workspace, 0o755))
	check(t, os.Chown(r.Workspace, User, User))
	check(t, os.Mkdir(r.Policies, 0o755))
	r.WriteConfig(fmt.Sprintf("runtimeDir: %s/run\npolicyDir: %s\nauditDir: %s/audit\nstateDir: %s/state\ninitPath: %s/creel-init\ngroup: nogroup\n%s%s",
		dir, r.Policies, dir, dir, r.bin, r.Target.config(), o.Config))
	r.WritePolicy("exec-default", r.PolicyText("exec-default", o.Policy))
	r.StartSupervisor()
	t.Cleanup(func() {
		if r.killed { // what it left is for the next one to take away
			r.StartSupervisor()
		}
		r.StopSupervisor()
	})
	return r
}

// For is the rig of a test among those that share one: what fails, fails it.
func (r *Rig) For(t testing.TB) *Rig {
	one := *r
	one.t = t
	return &one
}

// PolicyText is a policy with the rig's workspace, a host root and the lines
// of more, which may replace its top-level keys.
func (r *Rig) PolicyText(name, more string) string {
	keys := []struct{ key, value string }{
		{"apiVersion", "creel/v1"}, {"kind", "Policy"}, {"name", name},
		{"justification", "tests run commands"}, {"owner", "tests@example.org"}, {"reviewBy", "2099-01-01"},
		{"root", r.Target.root()}, {"userNamespace", r.Target.userNamespace()}, {"pool", r.Target.pool()}, {"user", fmt.Sprintf("%q", fmt.Sprintf("%d:%d", User, User))}, {"workdir", "/workspace"},
		{"mounts", fmt.Sprintf("[{kind: workspace, source: %s, target: /workspace, mode: rw}]", r.Workspace)},
		{"limits", "{timeout: 1m}"}, {"callers", fmt.Sprintf("{users: [\"0\", %q]}", fmt.Sprint(User))},
	}
	var b strings.Builder
	for _, k := range keys {
		if !strings.Contains("\n"+more, "\n"+k.key+":") {
			fmt.Fprintf(&b, "%s: %s\n", k.key, k.value)
		}
	}
	return b.String() + more + "\n"
}

// WritePolicy writes a policy file; a reload or a start puts it in force.
func (r *Rig) WritePolicy(name, text string) {
	r.t.Helper()
	check(r.t, os.WriteFile(filepath.Join(r.Policies, name+".yaml"), []byte(text), 0o644))
}

// WriteConfig writes creel.yaml.
func (r *Rig) WriteConfig(text string) {
	r.t.Helper()
	check(r.t, os.WriteFile(r.config, []byte(text), 0o644))
}

// Config is creel.yaml as it was written last.
func (r *Rig) Config() string {
	r.t.Helper()
	text, err := os.ReadFile(r.config)
	check(r.t, err)
	return string(text)
}

// supervisor prepares a run of creeld.
func (r *Rig) supervisor() *exec.Cmd {
	cmd := exec.Command(filepath.Join(r.bin, "creeld"), append([]string{"--config", r.config}, r.args...)...)
	cmd.Env = append(os.Environ(), r.env...)
	return cmd
}

// StartSupervisor starts creeld and returns once it answers.
func (r *Rig) StartSupervisor() {
	r.t.Helper()
	cmd := r.supervisor()
	cmd.Stderr = r.stderr
	check(r.t, cmd.Start())
	r.creeld, r.killed = cmd, false
	r.Eventually("creeld answers", func() bool {
		if syscall.Kill(cmd.Process.Pid, 0) != nil || zombie(cmd.Process.Pid) {
			r.t.Fatalf("creeld ended:\n%s", r.log)
		}
		return r.Creel("version").Code == 0
	})
}

// FailToStart runs a creeld to its end that finds something wrong, and gives what
// it said. None may run.
func (r *Rig) FailToStart() Result {
	r.t.Helper()
	cmd := r.supervisor()
	ended := r.Run(cmd)
	if ended.Code != 1 {
		r.t.Fatalf("creeld was to fail: %+v", ended)
	}
	return ended
}

func zombie(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(data), ") Z ")
}

// Pid is the supervisor's.
func (r *Rig) Pid() int { return r.creeld.Process.Pid }

// Log is what the supervisor has logged so far.
func (r *Rig) Log() string { return r.log.String() }

// StopSupervisor stops creeld cleanly, if it runs.
func (r *Rig) StopSupervisor() {
	r.t.Helper()
	if r.creeld == nil {
		return
	}
	check(r.t, r.creeld.Process.Signal(syscall.SIGTERM))
	if err := r.creeld.Wait(); err != nil {
		r.t.Errorf("creeld did not stop cleanly: %v\n%s", err, r.log)
	}
	r.creeld = nil
}

// KillSupervisor ends creeld with SIGKILL.
func (r *Rig) KillSupervisor() {
	r.t.Helper()
	check(r.t, r.creeld.Process.Kill())
	r.AwaitSupervisor()
}

// AwaitSupervisor returns once creeld has ended by what was done to it.
func (r *Rig) AwaitSupervisor() {
	r.t.Helper()
	r.Eventually("creeld has ended", func() bool { return zombie(r.Pid()) })
	_ = r.creeld.Wait() // says how
	r.creeld, r.killed = nil, true
}

// Reload puts what is on disk in force.
func (r *Rig) Reload() {
	r.t.Helper()
	if got := r.Creel("reload"); got.Code != 0 {
		r.t.Fatalf("reload: %+v\n%s", got, r.Log())
	}
}

// Result is how one run of the client ended.
type Result struct {
	Stdout, Stderr string
	Code           int
}

// Command prepares a run of the client, as root.
func (r *Rig) Command(args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(r.bin, "creel"), args...)
	cmd.Env = append(os.Environ(), "CREEL_SOCKET="+r.Dir+"/run/exec.sock", "CREEL_ADMIN_SOCKET="+r.Dir+"/run/admin.sock")
	return cmd
}

// CommandAs prepares a run of the client as another user, who may not be able
// to reach the checkout: the client is copied to where everyone can.
func (r *Rig) CommandAs(uid, gid uint32, args ...string) *exec.Cmd {
	r.t.Helper()
	cmd := r.Command(args...)
	copied := filepath.Join(r.Dir, "creel")
	if _, err := os.Stat(copied); err != nil {
		program, err := os.ReadFile(cmd.Path)
		check(r.t, err)
		check(r.t, os.WriteFile(copied, program, 0o755))
	}
	cmd.Path, cmd.Dir = copied, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	return cmd
}

// Creel runs the client to its end.
func (r *Rig) Creel(args ...string) Result { return r.Run(r.Command(args...)) }

// Exec runs a command in a sandbox of the default policy.
func (r *Rig) Exec(argv ...string) Result {
	return r.Creel(append([]string{"exec", "--"}, argv...)...)
}

// Shell runs a script in a sandbox of the default policy.
func (r *Rig) Shell(script string) Result { return r.Exec("sh", "-c", script) }

// Run runs a prepared command to its end.
func (r *Rig) Run(cmd *exec.Cmd) Result {
	r.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exited *exec.ExitError
	if err != nil && !errors.As(err, &exited) {
		r.t.Fatalf("run %v: %v", cmd.Args, err)
	}
	return Result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// Eventually waits for something that another process brings about.
func (r *Rig) Eventually(what string, holds func() bool) {
	r.t.Helper()
	if !r.Holds(holds) {
		r.t.Fatalf("not within %v: %s\n%s", patience, what, r.log)
	}
}

// patience is how long a slow machine may take for anything.
const patience = 20 * time.Second

// Holds waits until something holds and reports whether it came to.
func (r *Rig) Holds(holds func() bool) bool {
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

// Build builds creel, creeld and creel-init once and gives their directory.
var Build = sync.OnceValues(func() (string, error) {
	root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		return "", fmt.Errorf("find module: %w", err)
	}
	make := exec.Command("make", "--no-print-directory", "-C", strings.TrimSpace(string(root)), "build")
	if out, err := make.CombinedOutput(); err != nil {
		return "", fmt.Errorf("make build: %w\n%s", err, out)
	}
	return filepath.Join(strings.TrimSpace(string(root)), "bin"), nil
})

// Binaries builds creel, creeld and creel-init and gives their directory.
func Binaries(t testing.TB) string {
	t.Helper()
	dir, err := Build()
	check(t, err)
	return dir
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// lockedBuffer is a buffer that a process writes to while a test reads it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

var _ io.Writer = (*lockedBuffer)(nil)

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

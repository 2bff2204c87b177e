package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/initproto"
)

// sandboxUID is the user of every sandbox here; nobody else uses it, so that
// its limit of processes is the sandbox's own.
const sandboxUID = 54321

// deadline bounds one test's session; nothing here should come near it.
const deadline = 60 * time.Second

// The binaries under test, in a directory that the sandbox's user can enter.
var initPath, probePath string

// TestMain builds creel-init as it is shipped. The test binary is also, by its
// first argument, the engine that prepares a sandbox and the probes that run
// in it.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		if role, ok := roles[os.Args[1]]; ok {
			role(os.Args[2:])
		}
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "creel-init-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	initPath, probePath = filepath.Join(dir, "creel-init"), filepath.Join(dir, "probe")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", initPath, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	self, err := os.ReadFile("/proc/self/exe")
	for _, step := range []func() error{
		func() error { return err },
		func() error { return os.Chmod(dir, 0o755) },
		build.Run,
		func() error { return os.WriteFile(probePath, self, 0o755) },
	} {
		if err := step(); err != nil {
			fmt.Fprintln(os.Stderr, "prepare tests:", err)
			return 1
		}
	}
	return m.Run()
}

// box is one live sandbox and the supervisor's end of it.
type box struct {
	*initproto.Supervisor
	t       testing.TB
	engine  *exec.Cmd
	pid     int // of PID 1, on the host
	ended   chan struct{}
	stdin   *os.File
	stdout  *os.File
	stderr  *os.File
	inside  [3]syscall.Conn // the command's ends of the three
	closers []io.Closer
}

// engineOptions change how the stand-in for an engine starts the init.
type engineOptions struct {
	flags []string // for prepareSandbox
	user  bool     // a user namespace too
	env   []string
}

// newBox starts an init in namespaces of its own.
func newBox(t testing.TB, o engineOptions) *box {
	t.Helper()
	b, _ := newBoxWithSocket(t, o)
	return b
}

// newBoxWithSocket gives the number of the supervisor's socket too, for a test
// that says there what no Supervisor would.
func newBoxWithSocket(t testing.TB, o engineOptions) (*box, int) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	must(t, unix.SetNonblock(pair[0], true))
	ours, theirs := os.NewFile(uintptr(pair[0]), "control"), os.NewFile(uintptr(pair[1]), "control")
	defer theirs.Close()
	b := &box{t: t, ended: make(chan struct{})}
	b.engine = engineCommand(o, theirs)
	must(t, b.engine.Start())
	b.pid = b.engine.Process.Pid
	go func() {
		b.engine.Wait() // how the init exits is not part of the protocol
		close(b.ended)
	}()
	b.Supervisor, err = initproto.NewSupervisor(ours)
	must(t, err)
	late := time.AfterFunc(deadline, func() { b.Close() }) // whoever waits gets an error
	t.Cleanup(func() { late.Stop(); b.end() })
	b.makePipes()
	return b, pair[0]
}

// engineCommand is the stand-in for an engine, not yet started.
func engineCommand(o engineOptions, control *os.File) *exec.Cmd {
	engine := exec.Command(probePath, append([]string{"prepare-sandbox"}, o.flags...)...)
	engine.Env = append([]string{}, o.env...)
	engine.Stderr = os.Stderr
	engine.ExtraFiles = []*os.File{control}
	engine.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
	}
	if o.user {
		mapping := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 2_000_000_000, Size: 1}, {ContainerID: sandboxUID, HostID: sandboxUID, Size: 1}}
		attr := engine.SysProcAttr
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings, attr.GidMappings, attr.GidMappingsEnableSetgroups = mapping, mapping, true
		attr.Credential = &syscall.Credential{Uid: 0, Gid: 0}
	}
	return engine
}

func (b *box) makePipes() {
	pipe := func() (*os.File, *os.File) {
		r, w, err := os.Pipe()
		must(b.t, err)
		b.closers = append(b.closers, r, w)
		return r, w
	}
	var in, out, err *os.File
	in, b.stdin = pipe()
	b.stdout, out = pipe()
	b.stderr, err = pipe()
	b.inside = [3]syscall.Conn{in, out, err}
}

// end closes the control socket, which must be all it takes.
func (b *box) end() {
	b.Close()
	select {
	case <-b.ended:
	case <-time.After(deadline):
		b.t.Error("the sandbox outlived its control socket")
		b.engine.Process.Kill()
	}
	for _, c := range b.closers {
		c.Close()
	}
}

// ready takes a new box to the point where it waits for a job.
func ready(t testing.TB, o engineOptions) *box {
	t.Helper()
	b := newBox(t, o)
	_, err := b.Handshake(b.context(), initproto.Setup{})
	must(t, err)
	return b
}

func (b *box) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	b.t.Cleanup(cancel)
	return ctx
}

// start starts a job and lets go of the command's ends of the pipes.
func (b *box) start(job initproto.Job) error {
	err := b.Start(b.context(), job, b.inside)
	for _, c := range b.inside {
		c.(*os.File).Close()
	}
	return err
}

// outcome is how a command ended and what it wrote.
type outcome struct {
	initproto.Exit
	stdout, stderr string
}

// finish gives the command its input and waits for its end.
func (b *box) finish(stdin string) outcome {
	b.t.Helper()
	outputs := make(chan string, 2)
	go func() { outputs <- readAll(b.stderr) }()
	go func() {
		io.WriteString(b.stdin, stdin) // a command need not read it all
		b.stdin.Close()
	}()
	stdout := readAll(b.stdout)
	exit, err := b.Wait()
	if err != nil {
		b.t.Fatalf("wait for the command: %v", err)
	}
	return outcome{exit, stdout, <-outputs}
}

func readAll(f *os.File) string {
	data, err := io.ReadAll(f)
	if err != nil {
		return fmt.Sprintf("%s<%v>", data, err)
	}
	return string(data)
}

// readUntil reads a command's output up to a mark that says how far it is.
func (b *box) readUntil(mark string) string {
	b.t.Helper()
	var got []byte
	for one := make([]byte, 1); !bytes.HasSuffix(got, []byte(mark)); got = append(got, one[0]) {
		if _, err := b.stdout.Read(one); err != nil {
			b.t.Fatalf("read up to %q: %v, got %q", mark, err, got)
		}
	}
	return string(got)
}

// run runs one job in a new sandbox.
func run(t testing.TB, job initproto.Job, stdin string) outcome {
	t.Helper()
	b := ready(t, engineOptions{})
	must(t, b.start(job))
	return b.finish(stdin)
}

// command makes a job that runs in / with a usual PATH, and a filter that
// allows everything.
func command(argv ...string) initproto.Job {
	return initproto.Job{Argv: list(argv...), Env: list("PATH=/usr/bin:/bin"), Cwd: "/", Filter: allowing}
}

// script makes a job of a shell script.
func script(lines ...string) initproto.Job {
	return command("/bin/sh", "-c", strings.Join(lines, "\n"))
}

// probe makes a job of one of the roles of this binary.
func probe(role string, args ...string) initproto.Job {
	return command(append([]string{probePath, role}, args...)...)
}

func list(ss ...string) [][]byte {
	out := make([][]byte, len(ss))
	for i, s := range ss {
		out[i] = []byte(s)
	}
	return out
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

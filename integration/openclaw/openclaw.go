// Package openclaw holds the plugin that has OpenClaw run its commands through
// creel, the configuration to use it with, and the tests of both: a real
// OpenClaw and a real creeld, driven over OpenClaw's own HTTP API and from a
// chat, with stand-ins for the model and for Telegram.
//
// It imports testrig, cache, dockerd and profiles, and nothing of runner but the forms that a
// canary can take. It never talks to anything but what it started, except npm's
// registry, for the one version of OpenClaw that is pinned here.
package openclaw

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/integration/cache"
)

// Here is the directory of this package's files.
func Here() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(file)
}

// Install gives a directory with OpenClaw and Node.js, which is filled once for
// all tests of a machine, from what package-lock.json pins by hash. No package
// but OpenClaw runs a script.
func Install(t testing.TB) string {
	t.Helper()
	var pinned []byte
	for _, name := range []string{"package.json", "package-lock.json"} {
		data, err := os.ReadFile(filepath.Join(Here(), "npm", name))
		check(t, err)
		pinned = append(pinned, data...)
	}
	dir, err := cache.Directory("/var/cache/creel/openclaw", 0o755, string(pinned), func(partial string) error {
		if err := os.CopyFS(partial, os.DirFS(filepath.Join(Here(), "npm"))); err != nil {
			return err
		}
		if err := run(partial, os.Environ(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"); err != nil {
			return err
		}
		// It does not start before its own script has run.
		return run(filepath.Join(partial, "node_modules/openclaw"), []string{"HOME=" + partial}, Node(partial), "scripts/postinstall-bundled-plugins.mjs")
	})
	check(t, err)
	return dir
}

// CopyPlugin makes a copy of creel's plugin that is a user's, as integration/install
// and tmpfiles.conf do for an agent: OpenClaw loads none of a stranger, which root
// is in a user namespace.
func CopyPlugin(t testing.TB, dir string, user int) {
	t.Helper()
	check(t, os.CopyFS(dir, os.DirFS(filepath.Join(Here(), "plugin"))))
	check(t, os.Chmod(dir, 0o755))
	check(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return cmp.Or(err, os.Chown(path, user, user))
	}))
}

// run runs a step of the installation.
func run(dir string, env []string, argv ...string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w\n%s", argv, err, out)
	}
	return nil
}

// Node is the Node.js of an installation.
func Node(dir string) string {
	arch := map[string]string{"amd64": "x64"}[runtime.GOARCH]
	if arch == "" {
		arch = runtime.GOARCH
	}
	return filepath.Join(dir, "node_modules/node-linux-"+arch+"/bin/node")
}

// OpenClaw is one installation's state and configuration, and its gateway
// where that runs.
type OpenClaw struct {
	t    testing.TB
	Dir  string // of all its files, on the host
	Data string // what it may write of them, on the host
	Seen string // the same directory, as OpenClaw sees it
	Client

	install  string
	uid, gid uint32
	groups   []uint32
	secrets  []string
	within   []string // the start of its command line
	gateway  gateway
}

// gateway is a running one.
type gateway interface {
	// kill ends it, and nothing else, with SIGKILL.
	kill(t testing.TB)
	// ended reports whether it has.
	ended() bool
	log(t testing.TB) string
}

// Options are what a test sets.
type Options struct {
	Dir      string // made; passable for the user
	Seen     string // where its part that can be written is for OpenClaw, if not there
	UID, GID uint32
	Groups   []uint32
	// Config is laid over the configuration that is shipped.
	Config map[string]any
	// Secrets are added to OpenClaw's environment: K=V.
	Secrets []string
	Token   string
	// Env is added too where OpenClaw is a process of the host.
	Env []string
	// Within, left out for none, is the start of its command line there, which
	// root runs and which makes it a process of the user.
	Within []string
}

// New writes a configuration, as root, that the user can read and not write.
func New(t testing.TB, o Options) *OpenClaw {
	t.Helper()
	c := &OpenClaw{t: t, Dir: o.Dir, Data: o.Dir + "/data", Seen: cmp.Or(o.Seen, o.Dir+"/data"), Client: Client{Port: freePort(t), Token: o.Token},
		install: Install(t), uid: o.UID, gid: o.GID, groups: o.Groups, within: o.Within}
	check(t, os.MkdirAll(o.Dir, 0o710))
	check(t, os.Chown(o.Dir, 0, int(o.GID)))
	for _, dir := range []string{"", "/tmp"} {
		check(t, os.Mkdir(c.Data+dir, 0o700))
		check(t, os.Chown(c.Data+dir, int(o.UID), int(o.GID)))
	}
	data, err := Configuration(map[string]any{"gateway": map[string]any{"port": c.Port}}, o.Config)
	check(t, err)
	check(t, os.WriteFile(c.config(), data, 0o640))
	check(t, os.Chown(c.config(), 0, int(o.GID)))
	c.secrets = slices.Concat([]string{"OPENCLAW_GATEWAY_TOKEN=" + o.Token}, o.Secrets, o.Env)
	return c
}

func (c *OpenClaw) config() string { return c.Dir + "/openclaw.json" }

// leaveNothing has those directories taken away with the test that an OpenClaw of
// the host makes whatever it is told.
func (c *OpenClaw) leaveNothing() {
	for _, dir := range []string{"/tmp/openclaw", fmt.Sprintf("/tmp/openclaw-state-locks-%d", c.uid)} {
		_, err := os.Stat(dir)
		if foreign := err == nil; !foreign {
			c.t.Cleanup(func() { check(c.t, os.RemoveAll(dir)) })
		}
	}
}

// Command prepares a run of OpenClaw's own command line, as its user.
func (c *OpenClaw) Command(args ...string) *exec.Cmd {
	c.leaveNothing()
	argv := slices.Concat(c.within, []string{Node(c.install), filepath.Join(c.install, "node_modules/openclaw/openclaw.mjs")}, args)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append([]string{"PATH=/usr/bin:/bin", "LANG=C.UTF-8", "HOME=" + c.Data, "TMPDIR=" + c.Data + "/tmp",
		"OPENCLAW_STATE_DIR=" + c.Data + "/.openclaw", "OPENCLAW_CONFIG_PATH=" + c.config()}, c.secrets...)
	cmd.Dir = c.Data
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if c.within == nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: c.uid, Gid: c.gid, Groups: c.groups}
	}
	return cmd
}

// process is a gateway that is a process of the host, as its user.
type process struct {
	command *exec.Cmd
	within  bool   // another program
	out     string // path
}

// Start starts the gateway as a process of the host.
func (c *OpenClaw) Start() {
	c.t.Helper()
	p := &process{command: c.Command("gateway", "run"), within: c.within != nil, out: c.Dir + "/log"}
	out, err := os.OpenFile(p.out, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	check(c.t, err)
	defer out.Close()
	p.command.Stdout, p.command.Stderr = out, out
	check(c.t, p.command.Start())
	c.await(p)
}

func (p *process) kill(t testing.TB) {
	t.Helper()
	pid := p.command.Process.Pid
	if p.within { // what made it a process of the user has it as its child
		pid = -pid
	}
	check(t, syscall.Kill(pid, syscall.SIGKILL))
	_ = p.command.Wait()
}

func (p *process) ended() bool {
	var status syscall.WaitStatus
	pid, err := syscall.Wait4(p.command.Process.Pid, &status, syscall.WNOHANG, nil)
	return err != nil || pid != 0
}

func (p *process) log(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile(p.out)
	check(t, err)
	return string(data)
}

// await returns once a gateway that was started answers.
func (c *OpenClaw) await(g gateway) {
	c.t.Helper()
	c.gateway = g
	deadline := time.Now().Add(3 * time.Minute)
	for !c.Healthy() {
		if time.Now().After(deadline) || g.ended() {
			c.t.Fatalf("OpenClaw does not answer:\n%s", g.log(c.t))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// Kill ends the gateway, and nothing else, with SIGKILL.
func (c *OpenClaw) Kill() {
	c.t.Helper()
	c.gateway.kill(c.t)
	c.gateway = nil
}

// Running reports whether the gateway was started and not ended by Kill.
func (c *OpenClaw) Running() bool { return c.gateway != nil }

// Log is what the gateway printed.
func (c *OpenClaw) Log() string {
	c.t.Helper()
	return c.gateway.log(c.t)
}

// Ask does what Client.Ask does.
func (c *OpenClaw) Ask(session, message string) string {
	c.t.Helper()
	answer, err := c.Client.Ask(session, message)
	if err != nil {
		c.t.Fatalf("%v\n%s", err, c.Log())
	}
	return answer
}

// Request does what Client.Request does.
func (c *OpenClaw) Request(session, message string, more map[string]any) *http.Request {
	c.t.Helper()
	request, err := c.Client.Request(session, message, more)
	check(c.t, err)
	return request
}

// freePort is one that nothing listens on now.
func freePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	check(t, err)
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// Run runs OpenClaw's command line to its end and gives what it printed.
func (c *OpenClaw) Run(args ...string) (stdout string, err error) {
	cmd := c.Command(args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("openclaw %v: %w\n%s", args, err, stderr.String())
	}
	return string(out), err
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

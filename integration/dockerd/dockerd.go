// Package dockerd starts a Docker daemon of its own for the tests of the
// folders beside it: with mount and network namespaces, data, socket,
// containerd and control groups that no other daemon of the machine shares.
//
// It may import the standard library and nothing of ours. It never touches
// another daemon, a bridge, a firewall or a sysctl of the host, and leaves
// nothing behind, even when the test that uses it is killed.
package dockerd

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

//go:embed hold
var holdScript string

// patience is how long a slow machine may take for anything.
const patience = 60 * time.Second

// Daemon is a Docker daemon.
type Daemon struct {
	Dir    string // of everything it writes
	Socket string // of its API
	Group  string // control group of its containers, unless they name another

	t      testing.TB
	args   []string
	holder *exec.Cmd
	feed   io.Closer
	cmd    *exec.Cmd
	log    *os.File
}

// Options change a daemon from its defaults.
type Options struct {
	// Data is where it keeps images and containers; default: in Dir.
	Data string
	// Args are added to its flags.
	Args []string
}

// Start starts a daemon that ends with the test.
func Start(t testing.TB, o Options) *Daemon {
	t.Helper()
	// Short, since a socket's path has at most 107 bytes (unix(7)).
	dir, err := os.MkdirTemp("/tmp", "creel-dockerd-")
	check(t, err)
	d := &Daemon{Dir: dir, Socket: dir + "/docker.sock", Group: "/" + filepath.Base(dir), t: t}
	if o.Data == "" {
		o.Data = dir + "/data"
	}
	// Not the host's configuration, and nothing of its network.
	check(t, os.WriteFile(dir+"/daemon.json", []byte("{}\n"), 0o600))
	d.args = append([]string{
		"--config-file", dir + "/daemon.json", "--host", "unix://" + d.Socket,
		"--data-root", o.Data, "--exec-root", dir + "/exec", "--pidfile", dir + "/pid",
		"--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false",
		"--cgroup-parent", d.Group,
	}, o.Args...)
	d.log, err = os.Create(dir + "/log")
	check(t, err)
	t.Cleanup(func() { d.log.Close() })
	d.hold()
	d.StartDaemon()
	t.Cleanup(d.StopDaemon) // before the holder ends what is left
	return d
}

// hold starts the process that holds the namespaces and, when the test is
// over in whatever way, removes what is left.
func (d *Daemon) hold() {
	d.t.Helper()
	d.holder = exec.Command("unshare", "--mount", "--net", "--propagation", "slave",
		"bash", "-c", holdScript, "hold", d.Dir, d.Group)
	feed, err := d.holder.StdinPipe()
	check(d.t, err)
	said, err := d.holder.StdoutPipe()
	check(d.t, err)
	var stderr bytes.Buffer
	d.holder.Stderr = &stderr
	check(d.t, d.holder.Start())
	d.feed = feed
	d.t.Cleanup(func() {
		check(d.t, d.feed.Close())
		if err := d.holder.Wait(); err != nil {
			d.t.Errorf("clean up after dockerd: %v\n%s", err, &stderr)
		}
	})
	if line, err := bufio.NewReader(said).ReadString('\n'); line != "held\n" {
		d.t.Fatalf("make namespaces for dockerd: %q, %v\n%s", line, err, &stderr)
	}
}

// StartDaemon starts the daemon, again after it was stopped or killed, and
// returns once it answers.
func (d *Daemon) StartDaemon() {
	d.t.Helper()
	// nsenter(1) becomes the daemon: its pid is the daemon's.
	enter := []string{"--target", fmt.Sprint(d.holder.Process.Pid), "--mount", "--net", "dockerd"}
	d.cmd = exec.Command("nsenter", append(enter, d.args...)...)
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	check(d.t, d.cmd.Start())
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for d.ping(ctx) != nil {
		if ctx.Err() != nil || ended(fmt.Sprint(d.cmd.Process.Pid)) {
			d.t.Fatalf("dockerd does not answer:\n%s", d.Log())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (d *Daemon) ping(ctx context.Context) error {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", d.Socket)
	}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/_ping", nil)
	if err != nil {
		return err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

// ended says whether a process is gone or a zombie.
func ended(pid string) bool {
	data, err := os.ReadFile("/proc/" + pid + "/stat")
	return err != nil || strings.Contains(string(data), ") Z ")
}

// StopDaemon stops the daemon cleanly, with all its containers, if it runs.
func (d *Daemon) StopDaemon() {
	d.t.Helper()
	if d.cmd == nil {
		return
	}
	d.Thaw() // or it would not hear of its end
	check(d.t, d.cmd.Process.Signal(syscall.SIGTERM))
	stuck := time.AfterFunc(patience, func() { _ = d.cmd.Process.Kill() })
	defer stuck.Stop()
	if err := d.cmd.Wait(); err != nil {
		d.t.Errorf("dockerd did not stop cleanly: %v\n%s", err, d.Log())
	}
	d.cmd = nil
}

// KillDaemon ends the daemon with SIGKILL, and so its containerd, which dies
// with its parent (PR_SET_PDEATHSIG, prctl(2)): containers go on without them.
func (d *Daemon) KillDaemon() {
	d.t.Helper()
	check(d.t, d.cmd.Process.Kill())
	_ = d.cmd.Wait() // says "killed"
	d.cmd = nil
	record := d.Dir + "/exec/containerd/containerd.pid"
	data, err := os.ReadFile(record)
	check(d.t, err)
	for deadline := time.Now().Add(patience); !ended(strings.TrimSpace(string(data))); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			d.t.Fatalf("containerd outlives dockerd:\n%s", d.Log())
		}
	}
	// A zombie that nobody collects, as in a container without a real init,
	// would make the next daemon believe that it still runs.
	check(d.t, os.Remove(record))
}

// Freeze stops the daemon from answering until Thaw; its socket accepts.
func (d *Daemon) Freeze() { check(d.t, d.cmd.Process.Signal(syscall.SIGSTOP)) }

// Thaw ends a Freeze.
func (d *Daemon) Thaw() { check(d.t, d.cmd.Process.Signal(syscall.SIGCONT)) }

// Log is what the daemon has logged so far.
func (d *Daemon) Log() string {
	data, err := os.ReadFile(d.log.Name())
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// Command prepares a run of Docker's client against the daemon.
func (d *Daemon) Command(args ...string) *exec.Cmd {
	cmd := exec.Command("docker", append([]string{"--host", "unix://" + d.Socket}, args...)...)
	cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+d.Dir+"/client") // not the user's
	return cmd
}

// Docker runs Docker's client and gives what it writes, without the last
// newline.
func (d *Daemon) Docker(args ...string) string {
	d.t.Helper()
	out, err := d.Command(args...).Output()
	var exited *exec.ExitError
	if errors.As(err, &exited) {
		d.t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, exited.Stderr)
	}
	check(d.t, err)
	return strings.TrimSuffix(string(out), "\n")
}

// Containers are those that the daemon has. Its list is of a replica that is
// not always of one mind with it (GetContainer in moby's daemon/container.go):
// what is in the list but cannot be found is none.
func (d *Daemon) Containers() []string {
	d.t.Helper()
	var found []string
	for _, id := range strings.Fields(d.Docker("ps", "--all", "--quiet", "--no-trunc")) {
		if out, err := d.Command("container", "inspect", id).CombinedOutput(); err == nil || !strings.Contains(string(out), "No such container") {
			found = append(found, id)
		}
	}
	return found
}

// Import makes an image of a root file system in a tar archive. Changes are
// instructions of a Dockerfile. It gives the image's ID.
func (d *Daemon) Import(archive io.Reader, name string, changes ...string) string {
	d.t.Helper()
	args := []string{"import"}
	for _, change := range changes {
		args = append(args, "--change", change)
	}
	cmd := d.Command(append(args, "-", name)...)
	cmd.Stdin = archive
	out, err := cmd.CombinedOutput()
	if err != nil {
		d.t.Fatalf("docker import: %v\n%s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

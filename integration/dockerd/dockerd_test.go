package dockerd

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// census is all of the host that a careless daemon would change.
func census(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	for _, glob := range []string{
		"/proc/sys/kernel/keys/*", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/conf/*/forwarding",
		"/proc/sys/net/bridge/*", "/proc/sys/fs/may_detach_mounts", "/proc/self/mountinfo",
	} {
		names, err := filepath.Glob(glob)
		check(t, err)
		for _, name := range names {
			data, err := os.ReadFile(name)
			check(t, err)
			for line := range strings.Lines(string(data)) {
				if !strings.Contains(line, " /tmp/") { // other tests'
					out.WriteString(name + ": " + line)
				}
			}
		}
	}
	for _, glob := range []string{
		"/sys/fs/cgroup/*/docker", "/sys/fs/cgroup/*/creel-dockerd-*", "/sys/class/net/*", "/run/docker*",
		"/run/containerd*", "/var/lib/docker*", "/var/lib/containerd*", "/tmp/creel-dockerd-*",
	} {
		names, err := filepath.Glob(glob)
		check(t, err)
		out.WriteString(strings.Join(names, "\n") + "\n")
	}
	return out.String()
}

// processes lists those whose command line names a daemon of this test.
func processes(t *testing.T, dir string) string {
	t.Helper()
	out, _ := exec.Command("pgrep", "--list-full", "--full", dir).CombinedOutput() // exits with 1 for none
	return string(out)
}

// A container runs in it, and afterwards the host is as before, whether the
// daemon was stopped or killed with a container running.
func TestDaemonLeavesNothingBehind(t *testing.T) {
	for name, stop := range map[string]func(*Daemon){
		"stopped": (*Daemon).StopDaemon,
		"killed":  (*Daemon).KillDaemon,
	} {
		t.Run(name, func(t *testing.T) {
			before := census(t)
			var dir string
			t.Run("use", func(t *testing.T) {
				d := Start(t, Options{})
				dir = d.Dir
				d.Import(bytes.NewReader(busybox(t)), "busybox")
				if got := d.Docker("run", "--rm", "--network", "none", "busybox", "/busybox", "echo", "it runs"); got != "it runs" {
					t.Errorf("got %q", got)
				}
				if all := d.Containers(); len(all) != 0 {
					t.Errorf("there is none, and %q are listed", all)
				}
				id := d.Docker("run", "--detach", "--stop-signal", "KILL", "--network", "none", "busybox", "/busybox", "sleep", "1000")
				if all := d.Containers(); len(all) != 1 || all[0] != id {
					t.Errorf("there is %s, and %q are listed", id, all)
				}
				if group, err := filepath.Glob("/sys/fs/cgroup/*" + d.Group); err != nil || len(group) == 0 {
					t.Errorf("no control group while it runs: %v, %v", group, err)
				}
				stop(d)
			})
			if after := census(t); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
			if left := processes(t, dir); left != "" {
				t.Errorf("still there:\n%s", left)
			}
		})
	}
}

// busybox is the archive of a root that holds nothing else.
func busybox(t *testing.T) []byte {
	t.Helper()
	path, err := exec.LookPath("busybox")
	check(t, err)
	data, err := os.ReadFile(path)
	check(t, err)
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	check(t, archive.WriteHeader(&tar.Header{Name: "busybox", Mode: 0o755, Size: int64(len(data))}))
	_, err = archive.Write(data)
	check(t, err)
	check(t, archive.Close())
	return out.Bytes()
}

package leak

import (
	"bytes"
	"os"
	"os/exec"
	"testing"

	"github.com/creel-sandbox/creel/integration/dockerd"
	"github.com/creel-sandbox/creel/integration/testrig"
	"github.com/creel-sandbox/creel/runner/api"
)

// startDaemon starts a Docker daemon that logs all it can, and that has all it
// writes to, containerd's included, on the disk.
func startDaemon(t *testing.T) *dockerd.Daemon {
	t.Helper()
	d := dockerd.Start(t, dockerd.Options{Args: []string{"--debug"}})
	// Where the shims keep their sockets is in memory otherwise.
	pid, err := os.ReadFile(d.Dir + "/pid")
	check(t, err)
	must(t, exec.Command("nsenter", "--mount", "--target", string(pid), "sh", "-c",
		`mkdir "$0/run" && mount --bind "$0/run" /run`, d.Dir))
	return d
}

// startOnDocker is a rig whose sandboxes that daemon makes.
func startOnDocker(t *testing.T, d *dockerd.Daemon) *rig {
	t.Helper()
	return start(t, testrig.Options{Config: "engine: docker\ndockerSocket: " + d.Socket + "\n", Policy: "userNamespace: off\n"})
}

// TestDockerWritesNoCredentialAndNoCommand searches all that dockerd and
// containerd wrote, after fifty invocations, for both.
func TestDockerWritesNoCredentialAndNoCommand(t *testing.T) {
	first := newCanary()
	writeAndDelete(t, string(first))
	d := startDaemon(t)
	r := startOnDocker(t, d)
	for _, event := range append(events,
		event{"the daemon is asked about it", theDaemonIsAsked(d)},
		event{"the daemon is killed", theDaemonIsKilled(d)},
		event{"it has no such directory", itHasNoSuchDirectory},
	) {
		t.Run(event.name, func(t *testing.T) {
			event.run(t, r)
			r.searched(t)
		})
	}
	again := []func(*testing.T, *rig){itPrintsThem, itFails, itIsNotFound, itIsKilled, itsCallerIsKilled, itWouldDumpCore, itHasNoSuchDirectory}
	for i := 0; r.asked < 50; i++ {
		again[i%len(again)](t, r)
	}
	r.StopSupervisor()
	r.searched(t)
	dockerRunIsFound(t, d)
	d.StopDaemon()
	r.searched(t)
	if len(first.onDisk(t)) == 0 {
		t.Error("the search is blind: bytes written and deleted before the first event are not found after the last")
	}
}

// dockerRunIsFound is the control: the same daemon, told of a command and its
// environment, leaves both on the disk, though the container is gone.
func dockerRunIsFound(t *testing.T, d *dockerd.Daemon) {
	t.Helper()
	archive, err := exec.Command("tar", "--create", "--directory=/bin", "--dereference", "busybox").Output()
	check(t, err)
	d.Import(bytes.NewReader(archive), "control")
	token, marker := newCanary(), newCanary()
	d.Docker("run", "--rm", "--network", "none", "--env", "TOKEN="+string(token), "control", "/busybox", "true", string(marker))
	for what, c := range map[string]canary{"environment": token, "argument": marker} {
		if found := c.onDisk(t); len(found) == 0 {
			t.Errorf("an %s of docker run is not found: the search is blind", what)
		}
	}
}

// theDaemonIsAsked, while a command runs, for all that it can tell of it.
func theDaemonIsAsked(d *dockerd.Daemon) func(*testing.T, *rig) {
	return func(t *testing.T, r *rig) {
		b := r.begin(t, `echo "$EXEC_TOKEN"; sleep 1000`)
		id := d.Docker("ps", "--no-trunc", "--quiet")
		for _, args := range [][]string{
			{"ps", "--no-trunc"}, {"inspect", id}, {"logs", id}, {"diff", id}, {"commit", id, "creel-leak"},
			{"history", "--no-trunc", "creel-leak"}, {"inspect", "creel-leak"}, {"rmi", "creel-leak"},
			{"events", "--since", "1h", "--until", "0s"},
		} {
			out, err := d.Command(args...).CombinedOutput()
			if err != nil && args[0] != "logs" { // there is no log to read
				t.Errorf("docker %s: %v: %s", args[0], err, out)
			}
			for what, c := range map[string]canary{"credential": r.canary, "command": r.marker} {
				if found := c.in(out); len(found) > 0 {
					t.Errorf("docker %s tells the %s: %v", args[0], what, found)
				}
			}
			if args[0] == "inspect" && args[1] == id && !bytes.Contains(out, []byte("/.creel/init")) {
				t.Errorf("control: docker inspect does not tell what it was told: %s", out)
			}
		}
		r.operator(t, "kill", b.id)
		b.ends(t, 137)
	}
}

// theDaemonIsKilled in the middle of an invocation, and ends it when it is
// started again.
func theDaemonIsKilled(d *dockerd.Daemon) func(*testing.T, *rig) {
	return func(t *testing.T, r *rig) {
		b := r.begin(t, `echo "$EXEC_TOKEN"; sleep 1000`)
		d.KillDaemon()
		got := r.Run(r.command("true"))
		if got.Code != api.ExitFailed {
			t.Errorf("without a daemon, exit code %d, want %d; stderr: %s", got.Code, api.ExitFailed, got.Stderr)
		}
		d.StartDaemon()
		b.ends(t, 137)
		r.Eventually("nothing of it is listed", func() bool { return len(r.list(t)) == 0 })
	}
}

func itHasNoSuchDirectory(t *testing.T, r *rig) {
	got := r.Run(r.prepare([]string{"--cwd", "/no/such/directory"}, "true"))
	if got.Code != api.ExitFailed {
		t.Errorf("exit code %d, want %d; stderr: %s", got.Code, api.ExitFailed, got.Stderr)
	}
}

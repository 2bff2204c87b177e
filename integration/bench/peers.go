package main

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"os/exec"

	"github.com/creel-sandbox/creel/integration/dockerd"
)

// The names that goals refer to.
const (
	plain      = "plain fork+exec"
	bubblewrap = "bwrap"
	dockerRun  = "docker run"
	dockerExec = "docker exec"
)

func paced(name string) string { return name + ", paced" }

func (b *bench) addPeers() {
	b.add(b.arithmetic())
	b.addPaced(b.plain)
	// The flags that agents' sandboxes use: every namespace, the host's /usr
	// read-only, a new /proc, /dev and /tmp. No seccomp filter, no limits.
	argv := []string{"bwrap", "--unshare-all", "--new-session", "--die-with-parent", "--cap-drop", "ALL", "--ro-bind", "/usr", "/usr"}
	for _, link := range []string{"/bin", "/lib", "/lib64", "/sbin"} {
		if target, err := os.Readlink(link); err == nil {
			argv = append(argv, "--symlink", target, link)
		}
	}
	argv = append(argv, "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--", b.busybox, "true")
	b.addPaced(b.program(bubblewrap, true, nil, argv...))
	for _, runtime := range []string{"crun", "runc"} {
		b.addRuntime(runtime)
	}
	if b.measures(dockerRun, dockerExec) {
		b.addDocker()
	}
}

// addPaced adds a contender twice: as it is, called again and again, and called
// as a sandbox from a pool is, once each time that all is still. Both find the
// processors asleep then, and their caches cold.
func (b *bench) addPaced(c contender) {
	b.add(c)
	c.name, c.paced, c.sustained = paced(c.name), true, false
	b.add(c)
}

// daemon is a Docker daemon of its own, which is started when it is needed first.
func (b *bench) daemon() *dockerd.Daemon {
	if b.docker == nil {
		_, err := exec.LookPath("dockerd")
		b.tb.Check(err)
		b.docker = dockerd.Start(b.tb, dockerd.Options{})
	}
	return b.docker
}

// runLabel marks the containers of docker run: when the client is ended, the
// daemon goes on. removeRun waits until they are gone, since one that is being
// removed already cannot be removed again; its arguments are the client's.
const (
	runLabel  = "creel-bench-run"
	removeRun = `while ids=$("$0" "$@" ps --all --quiet --filter label=` + runLabel + `) && [ -n "$ids" ]; do
"$0" "$@" rm --force $ids || sleep 0.2
done`
)

// addDocker adds the client's two ways, with an image of busybox alone.
func (b *bench) addDocker() {
	run, enter := contender{name: dockerRun, sustained: true}, contender{name: dockerExec, sustained: true}
	if err := b.tb.Try(func() { b.startDocker(&run, &enter) }); err != nil {
		run.missing, enter.missing = err.Error(), err.Error()
	}
	b.add(run)
	b.add(enter)
}

func (b *bench) startDocker(run, enter *contender) {
	docker := b.daemon()
	archive, err := busyboxArchive(b.busybox)
	b.tb.Check(err)
	docker.Import(bytes.NewReader(archive), "busybox")
	id := docker.Docker("run", "--detach", "--network", "none", "--log-driver", "none", "--stop-signal", "KILL", "busybox", "/busybox", "sleep", "1000000")
	command := func(args ...string) func(context.Context) error {
		cmd := docker.Command(args...)
		return func(ctx context.Context) error {
			return b.start(ctx, append([]string{cmd.Path}, cmd.Args[1:]...), cmd.Env)
		}
	}
	run.once = command("run", "--rm", "--label", runLabel, "--network", "none", "--log-driver", "none", "busybox", "/busybox", "true")
	client := docker.Command()
	mend := append([]string{"/bin/sh", "-c", removeRun, client.Path}, client.Args[1:]...)
	run.mend = func(ctx context.Context) error { return b.start(ctx, mend, client.Env) }
	enter.once = command("exec", id, "/busybox", "true")
}

func busyboxArchive(path string) ([]byte, error) {
	program, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	if err := archive.WriteHeader(&tar.Header{Name: "busybox", Mode: 0o755, Size: int64(len(program))}); err != nil {
		return nil, err
	}
	if _, err := archive.Write(program); err != nil {
		return nil, err
	}
	return out.Bytes(), archive.Close()
}

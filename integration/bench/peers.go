package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/creel-sandbox/creel/integration/dockerd"
)

// The names that goals refer to.
const (
	plain      = "plain fork+exec"
	bubblewrap = "bwrap"
	dockerRun  = "docker run"
	dockerExec = "docker exec"
)

func bare(runtime string) string { return runtime + " run" }

func (b *bench) addPeers() {
	b.add(b.program(plain, true, nil, b.busybox, "true"))
	// The flags that agents' sandboxes use: every namespace, the host's /usr
	// read-only, a new /proc, /dev and /tmp. No seccomp filter, no limits.
	argv := []string{"bwrap", "--unshare-all", "--new-session", "--die-with-parent", "--cap-drop", "ALL", "--ro-bind", "/usr", "/usr"}
	for _, link := range []string{"/bin", "/lib", "/lib64", "/sbin"} {
		if target, err := os.Readlink(link); err == nil {
			argv = append(argv, "--symlink", target, link)
		}
	}
	argv = append(argv, "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--", b.busybox, "true")
	b.add(b.program(bubblewrap, true, nil, argv...))
	for _, runtime := range []string{"crun", "runc"} {
		b.addRuntime(runtime)
	}
	b.addDocker()
}

// addRuntime adds `crun run` and `runc run`: create, start and delete in one
// process, with the configuration that the runtime's own `spec` writes, less
// the mounts that creel does not make either: /sys, cgroups and mqueue.
func (b *bench) addRuntime(runtime string) {
	c := contender{name: bare(runtime), sustained: true}
	defer func() { b.add(c) }()
	path, err := exec.LookPath(runtime)
	if err != nil {
		c.missing = err.Error()
		return
	}
	bundle, state := filepath.Join(b.dir, runtime), filepath.Join(b.dir, runtime+"-state")
	if err := b.writeBundle(path, bundle); err != nil {
		c.missing = err.Error()
		return
	}
	var n atomic.Int64
	once := func(ctx context.Context) error {
		id := fmt.Sprintf("%s-%d", filepath.Base(b.dir), n.Add(1))
		return b.start(ctx, []string{path, "--root", state, "run", "--bundle", bundle, id}, []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"})
	}
	c.once = once
	if runtime != "crun" || !hybrid() {
		return
	}
	apart, err := newThreads(slices.Max(callerCounts))
	b.tb.check(err)
	b.tb.Cleanup(apart.end)
	c.once = func(ctx context.Context) error { return apart.do(func() error { return once(ctx) }) }
}

func (b *bench) writeBundle(runtime, bundle string) error {
	for _, dir := range []string{"bin", "dev", "proc", "sys"} {
		if err := os.MkdirAll(filepath.Join(bundle, "rootfs", dir), 0o755); err != nil {
			return err
		}
	}
	program, err := os.ReadFile(b.busybox)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(bundle, "rootfs/bin/busybox"), program, 0o755); err != nil {
		return err
	}
	spec := exec.Command(runtime, "spec")
	spec.Dir = bundle
	if out, err := spec.CombinedOutput(); err != nil {
		return fmt.Errorf("%s spec: %w: %s", runtime, err, out)
	}
	path := filepath.Join(bundle, "config.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if data, err = bareConfig(data); err != nil {
		return fmt.Errorf("edit configuration of %s: %w", runtime, err)
	}
	return os.WriteFile(path, data, 0o600)
}

// bareConfig makes what `spec` writes run busybox, in fewer mounts.
func bareConfig(data []byte) ([]byte, error) {
	var config struct {
		Version  string           `json:"ociVersion"`
		Process  map[string]any   `json:"process"`
		Root     map[string]any   `json:"root"`
		Hostname string           `json:"hostname"`
		Mounts   []map[string]any `json:"mounts"`
		Linux    map[string]any   `json:"linux"`
	}
	if err := json.Unmarshal(data, &config); err != nil {
		return nil, err
	}
	config.Process["terminal"], config.Process["args"] = false, []string{"/bin/busybox", "true"}
	config.Mounts = slices.DeleteFunc(config.Mounts, func(mount map[string]any) bool {
		target, _ := mount["destination"].(string)
		return target == "/dev/mqueue" || target == "/sys" || strings.HasPrefix(target, "/sys/")
	})
	return json.Marshal(config)
}

// addDocker starts a daemon of its own, with an image of busybox alone.
func (b *bench) addDocker() {
	run, enter := contender{name: dockerRun, sustained: true}, contender{name: dockerExec, sustained: true}
	if err := b.tb.try(func() { b.startDocker(&run, &enter) }); err != nil {
		run.missing, enter.missing = err.Error(), err.Error()
	}
	b.add(run)
	b.add(enter)
}

func (b *bench) startDocker(run, enter *contender) {
	_, err := exec.LookPath("dockerd")
	b.tb.check(err)
	b.docker = dockerd.Start(b.tb, dockerd.Options{})
	archive, err := busyboxArchive(b.busybox)
	b.tb.check(err)
	b.docker.Import(bytes.NewReader(archive), "busybox")
	id := b.docker.Docker("run", "--detach", "--network", "none", "--log-driver", "none", "--stop-signal", "KILL", "busybox", "/busybox", "sleep", "1000000")
	command := func(args ...string) func(context.Context) error {
		cmd := b.docker.Command(args...)
		return func(ctx context.Context) error {
			return b.start(ctx, append([]string{cmd.Path}, cmd.Args[1:]...), cmd.Env)
		}
	}
	run.once = command("run", "--rm", "--network", "none", "--log-driver", "none", "busybox", "/busybox", "true")
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

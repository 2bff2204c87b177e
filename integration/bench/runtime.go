package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/creel-sandbox/creel/runner/pidfd"
)

func bare(runtime string) string  { return runtime + " run" }
func apart(runtime string) string { return runtime + " create, start, delete" }

// bundle is one runtime with one configuration: what its own `spec` writes,
// less the mounts that creel does not make either: /sys, cgroups and mqueue.
type bundle struct {
	*bench
	path, dir, state string
	n                *atomic.Int64 // containers so far
}

// addRuntime adds the two ways to use a runtime: its `run`, which creates,
// starts and deletes in one process, and the three commands that an engine
// on top of it needs, which has something to do between them.
func (b *bench) addRuntime(runtime string) {
	run, steps := contender{name: bare(runtime), sustained: true}, contender{name: apart(runtime), sustained: true}
	if !b.measures(run.name, steps.name) {
		return
	}
	u := bundle{bench: b, dir: filepath.Join(b.dir, runtime), state: filepath.Join(b.dir, runtime+"-state"), n: new(atomic.Int64)}
	path, err := exec.LookPath(runtime)
	if err == nil {
		u.path = path
		err = u.write()
	}
	if err != nil {
		run.missing, steps.missing = err.Error(), err.Error()
	}
	run.once, steps.once = u.run, u.steps
	if err == nil && runtime == "crun" && hybrid() {
		hidden, err := newThreads(slices.Max(callerCounts))
		b.tb.Check(err)
		b.tb.Cleanup(hidden.end)
		run.once = func(ctx context.Context) error { return hidden.do(func() error { return u.run(ctx) }) }
		steps.once = func(ctx context.Context) error { return hidden.do(func() error { return u.steps(ctx) }) }
	}
	b.add(run)
	b.add(steps)
}

func (u bundle) run(ctx context.Context) error {
	return u.command(ctx, "run", "--bundle", u.dir, u.id())
}

// steps waits for the command's end as an engine does, by its descriptor: who
// created the container is not its parent any more.
func (u bundle) steps(ctx context.Context) (err error) {
	id := u.id()
	record := filepath.Join(u.bench.dir, id)
	if err := u.command(ctx, "create", "--bundle", u.dir, "--pid-file", record, id); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), u.longest)
			defer cancel()
			_ = u.command(ctx, "delete", "--force", id) // what failed is told
		}
	}()
	data, err := os.ReadFile(record)
	if err != nil {
		return err
	}
	if err := os.Remove(record); err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return err
	}
	process, err := pidfd.Open(pid)
	if err != nil {
		return err
	}
	defer process.Close()
	if err := u.command(ctx, "start", id); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = process.SetReadDeadline(time.Unix(1, 0)) })()
	if err := pidfd.Wait(process); err != nil {
		return err
	}
	return u.command(ctx, "delete", id)
}

func (u bundle) id() string { return fmt.Sprintf("%s-%d", filepath.Base(u.bench.dir), u.n.Add(1)) }

func (u bundle) command(ctx context.Context, args ...string) error {
	return u.start(ctx, append([]string{u.path, "--root", u.state}, args...), []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"})
}

func (u bundle) write() error {
	for _, dir := range []string{"bin", "dev", "proc", "sys"} {
		if err := os.MkdirAll(filepath.Join(u.dir, "rootfs", dir), 0o755); err != nil {
			return err
		}
	}
	program, err := os.ReadFile(u.busybox)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(u.dir, "rootfs/bin/busybox"), program, 0o755); err != nil {
		return err
	}
	spec := exec.Command(u.path, "spec")
	spec.Dir = u.dir
	if out, err := spec.CombinedOutput(); err != nil {
		return fmt.Errorf("%s spec: %w: %s", u.path, err, out)
	}
	path := filepath.Join(u.dir, "config.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if data, err = bareConfig(data); err != nil {
		return fmt.Errorf("edit configuration of %s: %w", u.path, err)
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

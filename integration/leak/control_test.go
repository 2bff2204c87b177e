package leak

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/integration/testrig"
	"github.com/creel-sandbox/creel/runner/leakcheck"
)

// TestSearchFindsWhatReachedTheDisk is the control of every search: what was
// on this disk for a moment, written in the ways that others have written
// credentials, is found.
func TestSearchFindsWhatReachedTheDisk(t *testing.T) {
	for _, control := range []struct {
		name  string
		write func(*testing.T, canary)
	}{
		{"a file deleted before it was written", func(t *testing.T, c canary) { writeAndDelete(t, string(c)) }},
		{"the environment in a bundle of runc", runWithRunc},
		{"a core file", dumpCore},
		{"what gcore writes", dumpByGcore},
	} {
		t.Run(control.name, func(t *testing.T) {
			c := newCanary()
			if found := c.onDisk(t); len(found) > 0 {
				t.Fatalf("found before it was written: %v", found)
			}
			control.write(t, c)
			if found := c.onDisk(t); len(found) == 0 {
				t.Error("what was written and deleted is not found")
			}
		})
	}
}

// TestSearchFindsWhatACommandItselfWrites has a sandboxed command do what
// creel never does. It shows that the value it was given is the one that is
// searched for, in every form, and that the workspace is on the disk.
func TestSearchFindsWhatACommandItselfWrites(t *testing.T) {
	r := start(t, testrig.Options{})
	c := r.canary
	r.runs(t, 0, `
		printf %s "$EXEC_TOKEN" >plain
		printf %s "$EXEC_TOKEN" | base64 -w0 >base64
		printf %s "$EXEC_TOKEN" | od -v -An -tx1 | tr -d ' \n' >hex
		tr a-f A-F <hex >HEX
		rm plain base64 hex HEX`)
	found := strings.Join(c.onDisk(t), "\n")
	for _, form := range leakcheck.Canary(c).Forms() {
		if !strings.Contains(found, form.Name) {
			t.Errorf("not found %s", form.Name)
		}
	}
}

// runWithRunc runs a command whose environment is in its bundle, as an
// engine does, and removes the bundle.
func runWithRunc(t *testing.T, c canary) {
	bundle, err := os.MkdirTemp("", "bundle-")
	check(t, err)
	check(t, os.Mkdir(bundle+"/rootfs", 0o755))
	must(t, exec.Command("runc", "spec", "--bundle", bundle))
	data, err := os.ReadFile(bundle + "/config.json")
	check(t, err)
	var config struct {
		Process map[string]any   `json:"process"`
		Mounts  []map[string]any `json:"mounts"`
		Rest    map[string]any   `json:"-"`
	}
	check(t, json.Unmarshal(data, &config))
	check(t, json.Unmarshal(data, &config.Rest))
	config.Process["terminal"] = false
	config.Process["env"] = []string{"TOKEN=" + string(c)}
	config.Process["args"] = []string{"/creel", "--help"}
	config.Rest["process"] = config.Process
	config.Rest["mounts"] = append(config.Mounts, map[string]any{"destination": "/creel", "type": "bind",
		"source": filepath.Join(*binaries, "creel"), "options": []string{"bind", "ro"}})
	data, err = json.Marshal(config.Rest)
	check(t, err)
	check(t, os.WriteFile(bundle+"/config.json", data, 0o600))
	must(t, exec.Command("runc", "run", "--bundle", bundle, fmt.Sprintf("creel-leak-%d", os.Getpid())))
	check(t, os.RemoveAll(bundle))
}

// dumpCore has a command with the canary in its environment leave a core
// file. A host that hands core files to a program (core(5)) would take it out
// of the rig, so there the file is one that the test writes.
func dumpCore(t *testing.T, c canary) {
	dir, err := os.MkdirTemp("", "core-")
	check(t, err)
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	check(t, err)
	if strings.HasPrefix(string(pattern), "|") || strings.HasPrefix(string(pattern), "/") {
		t.Logf("core_pattern is %q: no core file stays in the rig", strings.TrimSpace(string(pattern)))
		check(t, os.WriteFile(dir+"/core", []byte("TOKEN="+c), 0o600))
	} else {
		cmd := exec.Command("sh", "-c", "ulimit -c unlimited && kill -ABRT $$")
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "TOKEN="+string(c))
		if err := cmd.Run(); err == nil {
			t.Fatal("a command that aborts has succeeded")
		}
	}
	cores, err := filepath.Glob(dir + "/*")
	check(t, err)
	if len(cores) != 1 {
		t.Fatalf("files %v, want one core file", cores)
	}
	check(t, os.RemoveAll(dir))
}

func must(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}

// TestNothingButTheSearchedDiskCanBeWritten holds the rig itself to what the
// other tests take for granted.
func TestNothingButTheSearchedDiskCanBeWritten(t *testing.T) {
	mounts, err := mountinfo.GetMounts(nil)
	check(t, err)
	memory := append(slices.Clone(kernelFilesystems), "ramfs")
	for _, m := range mounts {
		var searched unix.Statfs_t
		switch {
		case slices.Contains(memory, m.FSType), slices.Contains(strings.Split(m.Options, ","), "ro"), m.Source == *device:
		case errors.Is(unix.Statfs(m.Mountpoint, &searched), unix.ENOENT): // covered by a later mount
		default:
			t.Errorf("%s (%s from %s) can be written: %s", m.Mountpoint, m.FSType, m.Source, m.Options)
		}
	}
	for _, dir := range []string{"/", "/root", "/etc", "/usr", "/dev"} {
		if _, err := os.CreateTemp(dir, "stray-"); !errors.Is(err, unix.EROFS) {
			t.Errorf("write to %s: %v, want %v", dir, err, unix.EROFS)
		}
	}
	for _, w := range writable {
		file, err := os.CreateTemp(w.dir, "stray-")
		check(t, err)
		check(t, errors.Join(file.Close(), os.Remove(file.Name())))
	}
}

package verify

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// TestWhatCannotBeSearchedIsNoSuccess takes one thing away at a time that the
// search needs.
func TestWhatCannotBeSearchedIsNoSuccess(t *testing.T) {
	r := start(t, testrig.Options{})
	t.Run("a file system is hidden below another", func(t *testing.T) {
		for range 2 {
			check(t, os.MkdirAll("/srv/hidden", 0o755))
			check(t, unix.Mount("hidden", "/srv/hidden", "tmpfs", 0, ""))
			t.Cleanup(func() { check(t, unix.Unmount("/srv/hidden", 0)) })
		}
		const place = "files written on /srv/hidden (tmpfs)"
		got := r.verify(t, 125)
		if got.Verdict != "unknown" || got.state(place) != "not-covered" {
			t.Errorf("%s is %s; verdict %s", place, got.state(place), got.Verdict)
		}
		if got = r.verify(t, 0, "--except", place); got.Verdict != "clean" || got.state(place) != "left-out" {
			t.Errorf("%s is %s; verdict %s", place, got.state(place), got.Verdict)
		}
	})
	t.Run("a file system takes no more files", func(t *testing.T) {
		check(t, os.MkdirAll("/srv/full", 0o755))
		check(t, unix.Mount("full", "/srv/full", "tmpfs", 0, "nr_inodes=1"))
		t.Cleanup(func() { check(t, unix.Unmount("/srv/full", 0)) })
		if got := r.verify(t, 125); got.state("files written on /srv/full (tmpfs)") != "not-covered" {
			t.Errorf("report %+v", got)
		}
	})
	t.Run("the control is ended", func(t *testing.T) {
		got := r.whileItRuns(t, 125, func(string) {
			files, err := filepath.Glob("/proc/[0-9]*/cmdline")
			check(t, err)
			for _, file := range files {
				line, _ := os.ReadFile(file)
				var pid int
				_, err := fmt.Sscanf(file, "/proc/%d/", &pid)
				if strings.Contains(string(line), "\x00hold-control\x00") {
					check(t, errors.Join(err, syscall.Kill(pid, syscall.SIGKILL)))
				}
			}
		})
		for _, place := range []string{"the check itself", "arguments of processes", "environment of processes", "names of Unix sockets", "mounts of all namespaces"} {
			if got.state(place) != "not-covered" {
				t.Errorf("%s is %s", place, got.state(place))
			}
		}
	})
	t.Run("control: nothing is taken away", func(t *testing.T) { r.verify(t, 0) })
}

// TestReadOnlyMountOfAWritableFileSystemIsWatched: another mount of it can be
// written to.
func TestReadOnlyMountOfAWritableFileSystemIsWatched(t *testing.T) {
	r := start(t, testrig.Options{})
	check(t, os.MkdirAll("/srv/shown", 0o755))
	check(t, unix.Mount("shown", "/srv/shown", "tmpfs", 0, ""))
	t.Cleanup(func() { check(t, unix.Unmount("/srv/shown", 0)) })
	check(t, unix.Mount("", "/srv/shown", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""))
	if err := os.WriteFile("/srv/shown/file", nil, 0o600); err == nil {
		t.Fatal("it is not mounted read-only")
	}
	if got := r.verify(t, 0); got.state("files written on /srv/shown (tmpfs)") != "covered" {
		t.Errorf("report %+v", got)
	}
}

// TestNothingIsClaimedWithoutACheck has what makes it impossible from the start.
func TestNothingIsClaimedWithoutACheck(t *testing.T) {
	r := start(t, testrig.Options{})
	r.WritePolicy("without", r.PolicyText("without", ""))
	r.WritePolicy("short", r.PolicyText("short", credentials+"limits: {timeout: 1s}"))
	check(t, os.MkdirAll("/srv/root", 0o755))
	for _, dir := range []string{"dev", "proc", "tmp", "workspace"} {
		check(t, os.MkdirAll("/srv/root/"+dir, 0o755))
	}
	r.WritePolicy("without-sh", r.PolicyText("without-sh", credentials+"root: {dir: /srv/root}"))
	r.Reload()
	refused := func(cmd *exec.Cmd, words ...string) testrig.Result {
		t.Helper()
		got := r.Run(cmd)
		if got.Code != 125 || strings.Contains(got.Stdout, "clean") {
			t.Errorf("%v: exit code %d\n%s%s", cmd.Args, got.Code, got.Stdout, got.Stderr)
		}
		for _, word := range words {
			if !strings.Contains(got.Stderr, word) {
				t.Errorf("%v: %q does not say %q", cmd.Args, got.Stderr, word)
			}
		}
		return got
	}
	refused(r.prepare("--policy", "without"), "has no credentials")
	refused(r.prepare("--policy", "no-such"), "there is no policy")
	refused(r.prepare("--policy", "short", "--", "sleep", "1000"), "")
	refused(r.prepare("--policy", "without-sh"), "sh: not found in the sandbox")
	refused(r.prepare("--except", "/"), "nothing to search")
	// Where it had begun by then, its report says so.
	if got := refused(r.prepare("--timeout", "1ns")); !strings.Contains(got.Stderr+got.Stdout, "deadline") {
		t.Errorf("at its time limit it says %q and %q", got.Stderr, got.Stdout)
	}
	refused(r.CommandAs(testrig.User, testrig.User, "credential", "verify-no-leak"), "")

	blind := r.prepare()
	blind.Args = append([]string{"setpriv", "--bounding-set", "-sys_admin", "--"}, append([]string{blind.Path}, blind.Args[1:]...)...)
	blind.Path = "/usr/bin/setpriv"
	refused(blind, "not permitted")

	elsewhere := r.prepare()
	elsewhere.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Unshareflags: syscall.CLONE_NEWNS}
	elsewhere.Args = append([]string{"sh", "-c", `mount -t proc proc /proc && exec "$@"`, "sh", elsewhere.Path}, elsewhere.Args[1:]...)
	elsewhere.Path = "/bin/sh"
	refused(elsewhere, "is not creeld here")

	r.verify(t, 0) // the control
	r.StopSupervisor()
	refused(r.prepare(), "no supervisor")
}

// TestInterruptedCheckLeavesNothing ends it, as a user and as the kernel can,
// while its command runs.
func TestInterruptedCheckLeavesNothing(t *testing.T) {
	r := start(t, testrig.Options{})
	r.verify(t, 0) // what the first run makes for good is there
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
		before := remains(t)
		cmd := r.prepare(waiting...)
		var stdout bytes.Buffer
		cmd.Stdout = &stdout
		check(t, cmd.Start())
		r.Eventually("the command runs", func() bool { return delivered() != "" })
		check(t, cmd.Process.Signal(signal))
		_ = cmd.Wait()
		if code := cmd.ProcessState.ExitCode(); code == 0 || code == 1 {
			t.Errorf("%v: exit code %d\n%s", signal, code, &stdout)
		}
		r.Eventually("nothing is left of it", func() bool { return remains(t) == before })
	}
}

// remains are the mounts of this host, its files in the places that a control
// is written to, and what runs.
func remains(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	check(t, err)
	all := []string{string(mounts)}
	for _, dir := range []string{"/", diskDir, "/tmp", "/run", "/dev/shm", "/srv", "/var/tmp"} {
		entries, err := os.ReadDir(dir)
		check(t, err)
		for _, entry := range entries {
			all = append(all, entry.Name())
		}
	}
	processes, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range processes {
		if line, _ := os.ReadFile(file); strings.Contains(string(line), "verify") || strings.Contains(string(line), "hold-control") || strings.Contains(string(line), "enough") {
			all = append(all, string(line))
		}
	}
	return strings.Join(all, "\n")
}

// TestWhatWasFoundIsToldWhateverComesThen ends the check in several ways, once
// there is something to be found.
func TestWhatWasFoundIsToldWhateverComesThen(t *testing.T) {
	for name, ends := range map[string]func(*testing.T, *rig, *os.Process){
		"the supervisor is killed": func(t *testing.T, r *rig, _ *os.Process) { r.KillSupervisor() },
		"the command is killed":    func(t *testing.T, r *rig, _ *os.Process) { r.Creel("kill", "--all") },
		"it is interrupted":        func(t *testing.T, _ *rig, p *os.Process) { check(t, p.Signal(syscall.SIGINT)) },
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, testrig.Options{})
			// A write that is looked at when the sandbox is gone has another name: it
			// writes again and again, and ends when it has often.
			cmd := r.prepare("--", "sh", "-c", `until [ -e enough ]; do echo "$TOKEN" >>kept; sleep 0.02; done`)
			var stdout bytes.Buffer
			cmd.Stdout = &stdout
			check(t, cmd.Start())
			r.Eventually("the command has written", func() bool {
				data, _ := os.ReadFile(r.Workspace + "/kept")
				return len(data) > 20*canaryLength
			})
			ends(t, r, cmd.Process)
			_ = cmd.Wait() // the exit code says it
			got := r.told(t, 1, testrig.Result{Stdout: stdout.String(), Code: cmd.ProcessState.ExitCode()})
			if got.Verdict != "leak" || got.state("environment of the command") != "not-covered" || !got.finds("files written on /tmp (tmpfs)", "/workspace/kept") {
				t.Errorf("report %+v", got)
			}
		})
	}
}

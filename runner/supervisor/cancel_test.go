package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/server"
)

// blocked is a rig whose runtime stops in the middle of making a container,
// says so on a FIFO and waits for the test.
func blocked(t *testing.T, runtime string) (r *rig, awaitBlock func(), unblock func()) {
	t.Helper()
	path, edit := faulty(t, runtime)
	edit("")
	r = newRig(t, options{runtime: path})
	reached, release := r.dir+"/reached", r.dir+"/release"
	check(t, errors.Join(syscall.Mkfifo(reached, 0o600), syscall.Mkfifo(release, 0o600)))
	edit(`config["hooks"] = {"createRuntime": [{"path": "/bin/sh", "args": ["sh", "-c", "echo > ` + reached + `; read x < ` + release + `"]}]}`)
	return r, func() {
			_, err := os.ReadFile(reached)
			check(t, err)
		}, func() {
			edit("")
			f, err := os.OpenFile(release, os.O_RDWR, 0) // does not wait for a reader
			check(t, err)
			t.Cleanup(func() { f.Close() })
			_, err = f.WriteString("\n")
			check(t, err)
		}
}

// withoutHooks leaves out the shell of the hook, which is no part of creel
// and which crun makes without any tie to itself.
func withoutHooks(left []string) []string {
	return slices.DeleteFunc(left, func(s string) bool { return strings.Contains(s, "(sh)") })
}

// A launch can be stopped while the runtime is half-way: whatever it left its
// process group for, and the init it had made, are gone with it.
func TestStoppedLaunchLeavesNothing(t *testing.T) {
	for _, runtime := range runtimes {
		for _, stop := range []struct {
			name, code string
			do         func(*rig, *call)
		}{
			{"caller gone", "", func(_ *rig, c *call) { c.cancel(server.ErrCallerGone) }},
			{"token ended", api.ReasonTokenEnded, func(_ *rig, c *call) { c.cancel(server.ErrTokenEnded) }},
			{"killed", api.ReasonKilled, func(r *rig, _ *call) {
				_, err := r.Kill(context.Background(), &api.KillRequest{All: true, Signal: int(unix.SIGKILL)})
				check(r.t, err)
			}},
			{"closed", ErrClosed.Code, func(r *rig, _ *call) { go r.Close() }},
		} {
			t.Run(runtime+" "+stop.name, func(t *testing.T) {
				r, awaitBlock, unblock := blocked(t, runtime)
				before := descriptors(t)
				c := r.start(shell("touch ran"), "")
				awaitBlock()
				if !strings.Contains(fmt.Sprint(r.look()), "sandbox") {
					t.Fatal("control: the launch has made nothing yet")
				}
				stop.do(r, c)
				<-c.done
				r.settle()
				if told := asAPI(t, c.err); stop.code != "" && told.Code != stop.code {
					t.Errorf("told %q: %s", told.Code, told.Message)
				}
				// Orphans that were still ending are collected with the next one.
				check(t, r.oci.Remove(t.Context(), "none"))
				r.eventually("nothing is left", func() bool { return len(withoutHooks(r.look())) == 0 })
				if exists(r.workspace + "/ran") {
					t.Error("the command ran")
				}
				unblock() // which opens one more
				r.eventually("its descriptors are closed", func() bool { return descriptors(t) <= before+1 })
				if c := r.run("true"); stop.name != "closed" && c.err != nil {
					t.Errorf("control: the next launch: %v", c.err)
				}
			})
		}
	}
}

// What the runtime leaks into a sandbox beside the control socket does not
// reach the command.
func TestInheritedDescriptorDoesNotReachTheCommand(t *testing.T) {
	for _, runtime := range runtimes {
		path, edit := faulty(t, runtime)
		edit(`
for n in range(5, 9):
    os.dup2(os.open("/etc", os.O_RDONLY | os.O_DIRECTORY), n)
arguments[arguments.index("--preserve-fds") + 1] = "6"
`)
		r := newRig(t, options{runtime: path})
		c := r.run("ls -l /proc/self/fd /proc/1/fd; ls /proc/self/fd/7/shadow")
		if c.err != nil || !strings.Contains(c.stdout.String(), " 2 -> pipe:") {
			t.Fatalf("%s: %v: %s%s", runtime, c.err, c.stdout, c.stderr)
		}
		if strings.Contains(c.stdout.String(), "/etc") || strings.Contains(c.stdout.String(), "shadow") {
			t.Errorf("%s: %s", runtime, c.stdout)
		}
	}
}

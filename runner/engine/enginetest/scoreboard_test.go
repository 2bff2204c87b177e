package enginetest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"

	"github.com/creel-sandbox/creel/integration/dockerd"
	"github.com/creel-sandbox/creel/integration/testrig"
)

// door is something of the kernel's that a careful sandbox keeps shut.
type door struct {
	name, docker, creel string // a line of README's table
	args                []string
	attempt             string // of those that the probe makes
	terminal            bool
	// shutSince is the first major version of Docker of which some refuse it, or 0.
	shutSince int
}

// doors are those that docker run leaves open with every flag that is advised
// for hardening. Its default filter lets every ioctl(2), ptrace(2) and most
// families of sockets through, and takes i386 for an ABI of the host's
// (moby, profiles/seccomp/default_linux.go). Its later versions refuse io_uring
// (moby#46762) and the socketcall of i386 (moby/profiles#21, of May 2026).
var doors = []door{
	{name: "the host's cgroup namespace", docker: "shared, with cgroup v1", creel: "its own", args: []string{"namespace", "cgroup"}, attempt: "cgroup"},
	{name: "io_uring", docker: "open, until Docker 25", creel: "refused", args: []string{"calls"}, attempt: "io_uring_setup", shutSince: 25},
	{name: "ptrace", docker: "open", creel: "refused", args: []string{"calls"}, attempt: "ptrace"},
	{name: "system calls by int80", docker: "open", creel: "killed", args: []string{"abi", "int80"}, attempt: "getpid"},
	{name: "vsock by int80", docker: "open, until mid-2026", creel: "killed", args: []string{"abi", "int80 vsock"}, attempt: "socket", shutSince: 29},
	{name: "AF_NETLINK", docker: "open", creel: "refused", args: []string{"sockets"}, attempt: "netlink"},
	{name: "TIOCSTI", docker: "open, where the kernel has it", creel: "refused", args: []string{"terminal"}, attempt: "TIOCSTI", terminal: true},
	{name: "TIOCLINUX", docker: "open", creel: "refused", args: []string{"terminal"}, attempt: "TIOCLINUX", terminal: true},
}

// keeps says whether an outcome is what README says of creel.
func (d door) keeps(outcome, outside string) bool {
	switch d.creel {
	case "its own":
		return outcome != outside
	case "killed":
		return outcome == "SIGSYS"
	}
	return slices.Contains(shut, outcome)
}

// shut are the outcomes of a door that is not open, wherever it is tried.
var shut = []string{"EPERM", "EACCES", "EAFNOSUPPORT", "ENOSYS"}

// score tries every door. The command runs the probe somewhere.
func score(t *testing.T, command func(d door) *exec.Cmd) outcomes {
	t.Helper()
	score, tried := outcomes{}, map[string]outcomes{}
	for _, d := range doors {
		key := strings.Join(d.args, " ")
		if tried[key] == nil {
			tried[key] = try(t, command(d), d.terminal)
		}
		score[d.name] = tried[key][d.attempt]
		if killed, ok := tried[key]["killed"]; ok {
			score[d.name] = killed
		}
	}
	return score
}

// try runs a probe, which a filter may kill.
func try(t *testing.T, cmd *exec.Cmd, terminal bool) outcomes {
	t.Helper()
	var printed, stderr bytes.Buffer
	var err error
	if terminal {
		var f *os.File
		if f, err = pty.Start(cmd); err == nil {
			_, _ = printed.ReadFrom(f) // ends with EIO
			err = cmd.Wait()
			f.Close()
		}
	} else {
		cmd.Stdout, cmd.Stderr = &printed, &stderr
		err = cmd.Run()
	}
	if cmd.ProcessState.ExitCode() == 128+int(syscall.SIGSYS) {
		return outcomes{"killed": "SIGSYS"}
	}
	if err != nil {
		t.Fatalf("%v: %v: %s%s", cmd.Args, err, &printed, &stderr)
	}
	return parse(t, strings.TrimSpace(strings.ReplaceAll(printed.String(), "\r", ""))+"\n")
}

// hardened runs the probe with all that is advised for docker run.
func (s *site) hardened(d *dockerd.Daemon, image string) func(door) *exec.Cmd {
	return func(o door) *exec.Cmd {
		args := []string{
			"run", "--rm", "--network", "none", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
			"--pids-limit", "128", "--memory", "256m", "--user", fmt.Sprintf("%d:%d", testrig.User, testrig.User),
			"--mount", "type=bind,readonly,source=" + s.outside + "/probe,target=/probe", "--entrypoint", "/probe",
		}
		if o.terminal {
			args = append(args, "--interactive", "--tty")
		}
		return d.Command(slices.Concat(args, []string{image}, o.args)...)
	}
}

// TestScoreboard shows what a hardened docker run leaves open and creel, on
// every engine, does not, and that README says so.
func TestScoreboard(t *testing.T) {
	var outside outcomes
	t.Run("control", func(t *testing.T) { outside = dockersScore(t) })
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range doors {
		if line := fmt.Sprintf("| %s | %s | %s |\n", d.name, d.docker, d.creel); !strings.Contains(string(readme), line) {
			t.Errorf("README's table has no %q", line)
		}
	}
	onEachTarget(t, nil, func(t *testing.T, s *site) {
		got := score(t, func(d door) *exec.Cmd {
			flags := []string{"exec"}
			if d.terminal {
				flags = append(flags, "-i", "-t")
			}
			return s.Command(slices.Concat(flags, []string{"--", "/data/probe"}, d.args)...)
		})
		for _, d := range doors {
			if !d.keeps(got[d.name], outside[d.name]) {
				t.Errorf("%s: %q, outside %q; want it %s", d.name, got[d.name], outside[d.name], d.creel)
			}
		}
	})
}

// dockersScore holds a hardened docker run to what README says of it. It gives
// the score of no sandbox at all.
func dockersScore(t *testing.T) outcomes {
	s := start(t, testrig.Targets[0], nil)
	outside := score(t, func(d door) *exec.Cmd { return exec.Command(s.outside+"/probe", d.args...) })
	daemon := testrig.Daemon()
	image, _, _ := strings.Cut(daemon.Docker("images", "--quiet", "creel-sandbox"), "\n")
	docker := score(t, s.hardened(daemon, image))
	major, _, _ := strings.Cut(daemon.Docker("version", "--format", "{{.Server.Version}}"), ".")
	version, err := strconv.Atoi(major)
	s.check(err)
	for _, d := range doors {
		t.Logf("%-28s outside %-24q docker run %q", d.name, outside[d.name], docker[d.name])
		switch {
		case slices.Contains(shut, outside[d.name]):
			t.Logf("this kernel has no %s", d.name)
		case d.shutSince > 0 && version >= d.shutSince:
			t.Logf("Docker %d may refuse %s", version, d.name)
		case d.attempt == "cgroup" && unified():
			t.Log("with cgroup v2 Docker makes a cgroup namespace")
		case docker[d.name] != outside[d.name]:
			t.Errorf("%s: %q outside, %q in a hardened docker run, and README says: %s", d.name, outside[d.name], docker[d.name], d.docker)
		}
	}
	return outside
}

// unified says whether the host has cgroup v2 alone.
func unified() bool {
	_, err := os.Stat("/sys/fs/cgroup/cgroup.controllers")
	return err == nil
}

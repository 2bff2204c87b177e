package leak

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// TestCredentialIsInNoOtherProcess looks, as the host's root, at what every
// process of the machine shows, while a command with credentials runs.
func TestCredentialIsInNoOtherProcess(t *testing.T) {
	for _, runtime := range testrig.Runtimes {
		t.Run(runtime, func(t *testing.T) {
			r := start(t, testrig.Options{Runtime: runtime})
			session := string(newCanary())
			b := r.begin(t, `echo "$EXEC_TOKEN"; sleep 1000 & wait`, "--session", session)
			r.Eventually("the command is a shell and sleep", func() bool {
				return slices.Equal(names(sandboxed(t, b.pid)), []string{"sh", "sleep"})
			})
			r.Eventually("it has printed", func() bool { return r.operator(t, "logs", b.id) != "" })
			command := sandboxed(t, b.pid)
			if got := r.holders("environ"); !slices.Equal(got, command) {
				t.Errorf("processes with the credential in their environment: %v, want those of the command: %v", got, command)
			}
			if got := r.holders("cmdline"); len(got) > 0 {
				t.Errorf("processes with the credential in an argument: %v", got)
			}
			client := memory(t, b.client.Process.Pid)
			if !bytes.Contains(client, []byte(session)) {
				t.Error("the client's own arguments are not in its memory: the search is blind")
			}
			if found := r.canary.in(client); len(found) > 0 {
				t.Errorf("the client has had the credential: %v", found)
			}
			for _, pid := range append(command, b.pid, r.Pid()) {
				strangersCannotRead(t, pid)
			}
			onlyTracersCanRead(t, r.Pid())
			r.anotherSandboxCannotRead(t)
			r.operator(t, "kill", b.id)
			b.ends(t, 137)
		})
	}
}

// onlyTracersCanRead has a root that has lost CAP_SYS_PTRACE open the memory of
// a process, and that of one which has lost it too (ptrace(2), ptrace access
// mode checking).
func onlyTracersCanRead(t *testing.T, pid int) {
	t.Helper()
	lesser := func(command ...string) *exec.Cmd {
		return exec.Command("setpriv", append([]string{"--bounding-set=-sys_ptrace"}, command...)...)
	}
	open := func(pid int) ([]byte, error) {
		return lesser("sh", "-c", fmt.Sprintf(": </proc/%d/mem", pid)).CombinedOutput()
	}
	other := lesser("sh", "-c", "echo; exec sleep 1000")
	stdout, err := other.StdoutPipe()
	check(t, err)
	check(t, other.Start())
	defer func() { _ = other.Wait() }() // says "killed"
	defer other.Process.Kill()
	_, err = stdout.Read(make([]byte, 1)) // by now it has lost it
	check(t, err)
	if out, err := open(other.Process.Pid); err != nil {
		t.Errorf("control: a process of the same kind cannot be opened: %v: %s", err, out)
	}
	if out, err := open(pid); err == nil || !strings.Contains(string(out), "Permission denied") {
		t.Errorf("root without CAP_SYS_PTRACE opens the memory of process %d: %v: %s", pid, err, out)
	}
}

// anotherSandboxCannotRead has a command of the same user, but without
// credentials, read the environment of every process that it can find.
func (r *rig) anotherSandboxCannotRead(t *testing.T) {
	t.Helper()
	r.WritePolicy("plain", r.PolicyText("plain", ""))
	r.Reload()
	own := string(newCanary())
	got := r.Run(r.prepare([]string{"--policy", "plain", "-e", "OWN=" + own}, "sh", "-c", "cat /proc/[0-9]*/environ"))
	if !strings.Contains(got.Stdout, "OWN="+own) {
		t.Errorf("control: a command does not find its own environment: %q %s", got.Stdout, got.Stderr)
	}
	r.canary.absent(t, "what another sandbox of the same user reads", got.Stdout)
}

// sandboxed lists the processes in the PID namespace of an init, without it.
func sandboxed(t *testing.T, init int) []int {
	t.Helper()
	namespace, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", init))
	check(t, err)
	return slices.DeleteFunc(processes(), func(pid int) bool {
		own, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
		return pid == init || own != namespace
	})
}

// names are what the kernel calls processes, sorted.
func names(pids []int) []string {
	var names []string
	for _, pid := range pids {
		data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		names = append(names, strings.TrimSpace(string(data)))
	}
	slices.Sort(names)
	return names
}

// holders lists the processes of which a file of proc(5) has the credential.
func (r *rig) holders(file string) []int {
	return slices.DeleteFunc(processes(), func(pid int) bool {
		data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
		return len(r.canary.in(data)) == 0
	})
}

// processes lists all processes of the machine, by pid.
func processes() []int {
	var pids []int
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// memory reads all that a process could have written to (proc(5), maps and
// mem). What is gone or cannot be read meanwhile is left out.
func memory(t *testing.T, pid int) []byte {
	t.Helper()
	return memoryOf(t, pid, func([]string) bool { return true })
}

// memoryOf reads those mappings that are wanted for their flags (VmFlags of
// proc_pid_smaps(5)).
func memoryOf(t *testing.T, pid int, wanted func(flags []string) bool) []byte {
	t.Helper()
	smaps, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", pid))
	check(t, err)
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	check(t, err)
	defer mem.Close()
	var all bytes.Buffer
	piece, unused := make([]byte, 64<<10), make([]byte, 64<<10)
	var start, end uint64
	var mode string
	for line := range strings.Lines(string(smaps)) {
		var from, to uint64
		var access string
		if n, _ := fmt.Sscanf(line, "%x-%x %s", &from, &to, &access); n == 3 {
			start, end, mode = from, to, access
			continue
		}
		flags, last := strings.CutPrefix(line, "VmFlags:")
		if !last || !strings.HasPrefix(mode, "rw") || !wanted(strings.Fields(flags)) {
			continue
		}
		// In pieces, since one page that is not there ends a read. Most of what a
		// Go program has was never used.
		for at := start; at < end; at += uint64(len(piece)) {
			n, _ := mem.ReadAt(piece[:min(uint64(len(piece)), end-at)], int64(at))
			if !bytes.Equal(piece[:n], unused[:n]) {
				all.Write(piece[:n])
			}
		}
	}
	return all.Bytes()
}

// stranger is a uid of the host that is neither root's nor the sandbox's.
const stranger = 65534

// strangersCannotRead has another user open what holds a process's memory,
// and the same of a process of its own.
func strangersCannotRead(t *testing.T, pid int) {
	t.Helper()
	for _, file := range []string{"environ", "mem", "maps"} {
		if err := openAs(stranger, fmt.Sprintf("/proc/$$/%s", file)); err != nil {
			t.Errorf("a user cannot open %s of its own process: %v", file, err)
		}
		err := openAs(stranger, fmt.Sprintf("/proc/%d/%s", pid, file))
		if err == nil || !strings.Contains(err.Error(), "Permission denied") {
			t.Errorf("another user opens %s of process %d: %v, want Permission denied", file, pid, err)
		}
	}
}

func openAs(uid uint32, path string) error {
	cmd := exec.Command("sh", "-c", ": <"+path)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

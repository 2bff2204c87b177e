package leak

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/integration/testrig"
	"github.com/creel-sandbox/creel/runner/api"
)

// crashes are the ways in which a supervisor writes its memory, or a part of
// it, somewhere: those that a Go program has, and gcore(1).
var crashes = []event{
	{"it is told to quit", crashesBy(unix.SIGQUIT, "SIGQUIT: quit")},
	{"it is told to abort", crashesBy(unix.SIGABRT, "SIGABRT: abort")},
	{"it has a fault", crashesBy(unix.SIGSEGV, "SIGSEGV: segmentation violation")},
	{"it panics in the midst of a job", itPanicsInTheMidstOfAJob},
	{"it is dumped", itIsDumped},
}

func TestCrashOfTheSupervisorTellsNoCredential(t *testing.T) {
	r := start(t, testrig.Options{})
	for _, crash := range crashes {
		t.Run(crash.name, func(t *testing.T) {
			before := len(r.Log())
			crash.run(t, r)
			r.tellsNothing(t, r.Log()[before:])
			cores, err := filepath.Glob(crashDir + "/core*")
			check(t, err)
			if len(cores) > 0 {
				t.Errorf("there are core files: %v", cores)
			}
			r.searched(t)
		})
	}
}

// tellsNothing fails if a trace holds the credential, or a part of it as a
// number.
func (r *rig) tellsNothing(t *testing.T, trace string) {
	t.Helper()
	r.canary.absent(t, "the trace", trace)
	if part := r.canary.inPart([]byte(trace)); part != "" {
		t.Errorf("the trace holds %s of the credential", part)
	}
	if found := r.canary.inWords(trace); len(found) > 0 {
		t.Errorf("the trace holds parts of the credential as numbers: %v", found)
	}
	said := "an argument was 0x" + fmt.Sprintf("%x", string(r.canary[7:15])) // the control
	if len(r.canary.inWords(said)) == 0 {
		t.Error("control: a part of the credential as a number is not found")
	}
}

// crashesBy has a supervisor that runs a command get a signal at which Go
// tells all goroutines and registers, and dumps core if it may.
func crashesBy(signal syscall.Signal, says string) func(*testing.T, *rig) {
	return func(t *testing.T, r *rig) {
		b := r.begin(t, `echo "$EXEC_TOKEN"; sleep 1000`)
		before := len(r.Log())
		check(t, syscall.Kill(r.Pid(), signal))
		r.AwaitSupervisor()
		b.ends(t, api.ExitFailed)
		trace := r.Log()[before:]
		for _, want := range []string{says, "\ngoroutine ", "\nrip ", "runner/supervisor.(*Supervisor).Exec("} {
			if !strings.Contains(trace, want) {
				t.Errorf("control: the trace has no %q: %s", want, trace)
			}
		}
		r.StartSupervisor()
		r.Eventually("what the supervisor left is gone", func() bool { return errors.Is(syscall.Kill(b.pid, 0), syscall.ESRCH) })
	}
}

// whereAJobIsWhole is a function of creeld's that is called when a job has
// been encoded, with its credentials, and not been sent.
const whereAJobIsWhole = "github.com/creel-sandbox/creel/runner/initproto.numbers"

// itPanicsInTheMidstOfAJob. creeld has nothing that makes it panic when asked
// to, so the test, which is root, changes its code: it follows a nil pointer at
// the worst moment.
func itPanicsInTheMidstOfAJob(t *testing.T, r *rig) {
	file, err := elf.Open(filepath.Join(*binaries, "creeld"))
	check(t, err)
	defer file.Close()
	symbols, err := file.Symbols()
	check(t, err)
	at := slices.IndexFunc(symbols, func(s elf.Symbol) bool { return s.Name == whereAJobIsWhole })
	if at < 0 || file.Type != elf.ET_EXEC || file.Machine != elf.EM_X86_64 {
		t.Fatalf("creeld has no %s at a fixed place", whereAJobIsWhole)
	}
	mem, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", r.Pid()), os.O_WRONLY, 0)
	check(t, err)
	defer mem.Close()
	followsNil := []byte{0x31, 0xc0, 0x48, 0x8b, 0x00} // xor eax, eax; mov rax, [rax]
	_, err = mem.WriteAt(followsNil, int64(symbols[at].Value))
	check(t, err)
	before := len(r.Log())
	got := r.Run(r.prepare(nil, "true"))
	if got.Code != api.ExitFailed {
		t.Errorf("exit code %d, want %d", got.Code, api.ExitFailed)
	}
	r.AwaitSupervisor()
	for _, want := range []string{"nil pointer dereference", "panic: ", whereAJobIsWhole + "(", "initproto.(*Supervisor).Start("} {
		if !strings.Contains(r.Log()[before:], want) {
			t.Errorf("control: the trace has no %q: %s", want, r.Log()[before:])
		}
	}
	r.StartSupervisor()
}

// itIsDumped by root, who may read everything, as are the init and the command
// that it started, which inherit what it set. What gcore writes without being
// told otherwise is on the disk that is searched, registers included.
func itIsDumped(t *testing.T, r *rig) {
	b := r.begin(t, `echo "$EXEC_TOKEN" "$SYSTEMD_TOKEN"; sleep 1000`)
	r.Eventually("it has printed", func() bool { return r.operator(t, "logs", b.id) != "" })
	for what, pid := range map[string]int{"creeld": r.Pid(), "creel-init": b.pid, "the command": sandboxed(t, b.pid)[0]} {
		coreTellsNothing(t, what, pid, r.canary)
	}
	r.operator(t, "kill", b.id)
	b.ends(t, 137)
}

// coreTellsNothing fails if what gcore writes of a process holds a credential
// or a part of it.
func coreTellsNothing(t *testing.T, what string, pid int, credentials ...canary) {
	t.Helper()
	core := dump(t, pid)
	if len(core) < 1024 {
		t.Errorf("control: the core of %s has %d bytes", what, len(core))
	}
	for _, c := range credentials {
		if found := c.in(core); len(found) > 0 {
			t.Errorf("the core of %s holds a credential: %v", what, found)
		}
		if part := c.inPart(core); part != "" {
			t.Errorf("the core of %s holds %s of a credential", what, part)
		}
	}
}

// dump gives what gcore writes of a process.
func dump(t *testing.T, pid int) []byte {
	t.Helper()
	must(t, exec.Command("gcore", "-o", crashDir+"/dump", fmt.Sprint(pid)))
	path := fmt.Sprintf("%s/dump.%d", crashDir, pid)
	core, err := os.ReadFile(path)
	check(t, err)
	check(t, os.Remove(path))
	return core
}

// dumpByGcore is the control of itIsDumped: a process of the test's own.
func dumpByGcore(t *testing.T, c canary) {
	cmd := exec.Command("sleep", "1000")
	cmd.Env = append(os.Environ(), "TOKEN="+string(c))
	check(t, cmd.Start())
	defer func() { _ = cmd.Wait() }() // says "killed"
	defer cmd.Process.Kill()
	if core := dump(t, cmd.Process.Pid); len(c.in(core)) == 0 || c.inPart(core) == "" {
		t.Error("the core of a process that has a value in its environment does not hold it")
	}
}

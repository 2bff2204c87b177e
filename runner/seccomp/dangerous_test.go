package seccomp

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// outcomes runs every probe under the programs.
func outcomes(t *testing.T, programs ...Program) map[string]syscall.Errno {
	t.Helper()
	out, err := filtered(t, programs, "probe").Output()
	if err != nil {
		t.Fatalf("run probes: %v", err)
	}
	found := map[string]syscall.Errno{}
	for line := range strings.Lines(string(out)) {
		number, what, _ := strings.Cut(strings.TrimSpace(line), " ")
		errno, err := strconv.Atoi(number)
		if err != nil {
			t.Fatal(err)
		}
		found[what] = syscall.Errno(errno)
	}
	if probes := dangerousProbes(); len(found) != len(probes) {
		t.Fatalf("%d outcomes of %d probes: %q", len(found), len(probes), out)
	}
	return found
}

func TestKernelRefusesDangerousCalls(t *testing.T) {
	profile, floor := defaultProfile(t), floorProfile(t)
	bare := outcomes(t)
	under := outcomes(t, mustCompile(t, profile))
	underFloor := outcomes(t, mustCompile(t, floor))
	differ := 0
	for _, probe := range dangerousProbes() {
		if got := under[probe.what]; got != probe.want {
			t.Errorf("%s: %v under the default profile, want %v", probe.what, got, probe.want)
		}
		// The control: without a filter, the same call fares otherwise.
		switch {
		case bare[probe.what] != probe.want:
			differ++
		case !probe.maybe:
			t.Errorf("%s: %v without a filter too, so this proves nothing", probe.what, probe.want)
		}
		var args [6]uint64
		for i := range args {
			args[i] = uint64(probe.args[i])
		}
		want := bare[probe.what]
		if errno, refused := decide(floor, int(probe.nr), args).Errno(); refused {
			want = errno
		}
		if got := underFloor[probe.what]; got != want {
			t.Errorf("%s: %v under the floor, want %v", probe.what, got, want)
		}
	}
	t.Logf("%d probes, %d of them with another outcome where no filter is", len(under), differ)
}

func TestEveryRefusedCallIsProbed(t *testing.T) {
	probed := map[int]bool{}
	for _, probe := range dangerousProbes() {
		probed[int(probe.nr)] = true
	}
	for name, profile := range shipped(t) {
		for _, rule := range profile.Rules {
			for _, call := range rule.Syscalls {
				// What fails with ENOSYS is like that on many kernels anyway.
				if !rule.Action.Allows() && rule.Action != Errno(enosys) && !probed[call.Number] {
					t.Errorf("%s: line %d refuses %s and no probe tries it", name, rule.Line, call.Name)
				}
			}
		}
	}
}

// TestForeignABIsDie builds a program that calls getpid by int80 or by x32.
func TestForeignABIsDie(t *testing.T) {
	binary := t.TempDir() + "/abi"
	if out, err := exec.Command("gcc", "-O1", "-static", "-o", binary, "testdata/abi.c").CombinedOutput(); err != nil {
		t.Fatalf("build testdata/abi.c: %v\n%s", err, out)
	}
	for name, programs := range map[string][]Program{
		"default":  {mustCompile(t, defaultProfile(t))},
		"floor":    {mustCompile(t, floorProfile(t))},
		"stacked":  asInSandbox(t),
		"unharmed": nil,
	} {
		for _, abi := range []string{"native", "int80", "x32"} {
			err := filtered(t, programs, "exec", binary, abi).Run()
			want := programs == nil || abi == "native"
			if want && err != nil {
				t.Errorf("%s: %s: %v, want success", name, abi, err)
			}
			if !want && !died(err, syscall.SIGSYS) {
				t.Errorf("%s: %s: %v, want death by SIGSYS", name, abi, err)
			}
		}
	}
}

func died(err error, signal syscall.Signal) bool {
	exit, ok := err.(*exec.ExitError)
	if !ok {
		return false
	}
	status := exit.Sys().(syscall.WaitStatus)
	return status.Signaled() && status.Signal() == signal
}

package seccomp

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/creel-sandbox/creel/profiles"
	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"
)

// highestNumber is past every call of Linux today.
const highestNumber = 600

// shipped are the profiles every rule of which is run.
func shipped(t *testing.T) map[string]*Profile {
	return map[string]*Profile{"default": defaultProfile(t), "floor": floorProfile(t)}
}

func TestEveryRuleDoesWhatItSays(t *testing.T) {
	for name, profile := range shipped(t) {
		machine := newMachine(t, mustCompile(t, profile))
		runs := 0
		for _, rule := range profile.Rules {
			for _, call := range rule.Syscalls {
				for _, args := range bothSides(rule) {
					runs++
					if got, want := machine.run(call.Number, args), decide(profile, call.Number, args); got != want {
						t.Errorf("%s: line %d: %s(%#x): %s, want %s", name, rule.Line, call.Name, args, got, want)
					}
				}
			}
		}
		t.Logf("%s: %d rules, %d calls run", name, len(profile.Rules), runs)
	}
}

// bothSides gives arguments for which the rule holds, and for each condition
// arguments that just fail it, each with the bits a mask leaves out both
// clear and set.
func bothSides(rule Rule) [][6]uint64 {
	var holds [6]uint64
	for _, c := range rule.Conditions {
		holds[c.Index] = c.ValueTwo
		if c.Operator != MaskedEqual {
			holds[c.Index] = c.Value
		}
	}
	all := [][6]uint64{holds}
	for _, c := range rule.Conditions {
		for bit := range 64 {
			flipped := holds
			flipped[c.Index] ^= 1 << bit
			all = append(all, flipped)
		}
		for _, other := range []uint64{0, holds[c.Index] - 1, holds[c.Index] + 1, holds[c.Index] | 1<<32, holds[c.Index] | 0xffffffff<<32, ^holds[c.Index], 0xffffffff} {
			changed := holds
			changed[c.Index] = other
			all = append(all, changed)
		}
	}
	return all
}

func TestProgramAgreesWithTheRulesOnRandomCalls(t *testing.T) {
	for name, profile := range shipped(t) {
		machine := newMachine(t, mustCompile(t, profile))
		interesting := []uint64{0, 1, 1 << 32, 0xffffffff, ^uint64(0)}
		for _, rule := range profile.Rules {
			for _, c := range rule.Conditions {
				interesting = append(interesting, c.Value, c.ValueTwo, c.ValueTwo|1<<32)
			}
		}
		random := rand.New(rand.NewPCG(1, 2))
		for nr := -1; nr < highestNumber; nr++ {
			for range 100 {
				var args [6]uint64
				for i := range args {
					args[i] = interesting[random.IntN(len(interesting))]
				}
				if got, want := machine.run(nr, args), decide(profile, nr, args); got != want {
					t.Fatalf("%s: call %d(%#x): %s, want %s", name, nr, args, got, want)
				}
			}
		}
	}
}

func TestEveryCallOfTheKernelIsDecidedByName(t *testing.T) {
	profile := defaultProfile(t)
	named := map[int]bool{}
	for _, rule := range profile.Rules {
		for _, call := range rule.Syscalls {
			named[call.Number] = true
		}
	}
	if len(named) < 360 {
		t.Fatalf("only %d calls are named", len(named))
	}
	for nr := range highestNumber {
		name, err := libseccomp.ScmpSyscall(nr).GetName()
		if err == nil && !named[nr] {
			t.Errorf("%s (%d) has no rule in default.json: allow or refuse it, with a reason", name, nr)
		}
	}
	for name, nr := range newer {
		if nr != elsewhere && !named[nr] {
			t.Errorf("%s (%d) has no rule in default.json: allow or refuse it, with a reason", name, nr)
		}
	}
}

func TestNewerNamesHaveTheNumbersOfLibseccomp(t *testing.T) {
	for name, want := range newer {
		if number, err := libseccomp.GetSyscallFromName(name); err == nil && int(number) != want && number >= 0 {
			t.Errorf("%s is %d, libseccomp says %d", name, want, number)
		}
	}
}

func TestCallsNewerThanTheProfileFallBack(t *testing.T) {
	machine := newMachine(t, mustCompile(t, defaultProfile(t)))
	for nr := 471; nr < highestNumber; nr++ {
		if got := machine.run(nr, [6]uint64{}); got != Errno(unix.ENOSYS) {
			t.Fatalf("call %d: %s, want %s", nr, got, Errno(unix.ENOSYS))
		}
	}
}

func TestForeignABIsAreKilled(t *testing.T) {
	for name, profile := range shipped(t) {
		program := mustCompile(t, profile)
		killed := 0
		for nr := int32(0); nr < highestNumber; nr++ {
			for _, call := range []Data{
				{Arch: unix.AUDIT_ARCH_I386, Nr: nr},
				{Arch: unix.AUDIT_ARCH_X86_64, Nr: 0x40000000 | nr},
				{Arch: unix.AUDIT_ARCH_AARCH64, Nr: nr},
			} {
				if nr%50 != 0 && call.Arch == unix.AUDIT_ARCH_AARCH64 {
					continue
				}
				verdict, err := Simulate(program, call)
				if err != nil {
					t.Fatal(err)
				}
				if verdict != KillProcess {
					t.Fatalf("%s: architecture %#x call %#x: %s, want %s", name, call.Arch, call.Nr, verdict, KillProcess)
				}
				killed++
			}
		}
		if verdict, err := Simulate(program, Data{Arch: unix.AUDIT_ARCH_X86_64, Nr: unix.SYS_GETPID}); err != nil || verdict != Allow {
			t.Errorf("%s: native getpid: %s %v, want %s", name, verdict, err, Allow)
		}
		t.Logf("%s: %d foreign calls killed", name, killed)
	}
}

// An OCI runtime gives the floor to libseccomp in one filter, without the
// order of this package: it must come to the same.
func TestFloorMeansTheSameInAnOCIRuntime(t *testing.T) {
	profile := floorProfile(t)
	asRuntime, err := build(profile.Default, profile.Rules)
	if err != nil {
		t.Fatal(err)
	}
	theirs, ours := newMachine(t, asRuntime), newMachine(t, mustCompile(t, profile))
	for nr := range highestNumber {
		vectors := [][6]uint64{{}}
		for _, rule := range profile.Rules {
			if rule.names(nr) {
				vectors = append(vectors, bothSides(rule)...)
			}
		}
		for _, args := range vectors {
			if a, b := theirs.run(nr, args), ours.run(nr, args); a != b {
				t.Errorf("call %d(%#x): %s in a runtime, %s here", nr, args, a, b)
			}
		}
	}
}

func TestFloorDecodesIntoTheOCISpecification(t *testing.T) {
	var oci specs.LinuxSeccomp
	if err := json.Unmarshal(profiles.Floor(), &oci); err != nil {
		t.Fatal(err)
	}
	if oci.DefaultAction != specs.ActAllow || oci.DefaultErrnoRet != nil || len(oci.Architectures) != 0 {
		t.Errorf("default action %q errno %v architectures %q, want allow, none and none: libseccomp's own architecture", oci.DefaultAction, oci.DefaultErrnoRet, oci.Architectures)
	}
	var theirs, ours [][]string
	for _, rule := range oci.Syscalls {
		theirs = append(theirs, slices.Sorted(slices.Values(rule.Names)))
	}
	for _, rule := range floorProfile(t).Rules {
		var names []string
		for _, call := range rule.Syscalls {
			names = append(names, call.Name)
		}
		ours = append(ours, slices.Sorted(slices.Values(names)))
	}
	if diff := cmp.Diff(ours, theirs); diff != "" {
		t.Errorf("rules differ (-ours +oci):\n%s", diff)
	}
}

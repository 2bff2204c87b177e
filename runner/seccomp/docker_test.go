package seccomp

import (
	"os"
	"testing"
)

// testdata/docker-default.json is Docker's default profile, from
// github.com/moby/profiles/seccomp v0.2.4 (Apache-2.0), unchanged.
func dockerProfile(t *testing.T) *Profile {
	t.Helper()
	data, err := os.ReadFile("testdata/docker-default.json")
	if err != nil {
		t.Fatal(err)
	}
	return mustParse(t, "docker-default.json", data)
}

// beyondDocker are calls that we allow and Docker does not, with the reason.
var beyondDocker = map[string]string{}

func TestDefaultProfileIsTighterThanDockers(t *testing.T) {
	mine, dockers := defaultProfile(t), dockerProfile(t)
	ours, theirs := newMachine(t, mustCompile(t, mine)), newMachine(t, mustCompile(t, dockers))
	vectors := [][6]uint64{{}, {1, 1, 1, 1, 1, 1}, {1 << 63, 1 << 63, 1 << 63, 1 << 63, 1 << 63, 1 << 63}}
	tighter, used := map[int]bool{}, map[string]bool{}
	for nr := range highestNumber {
		calls := vectors
		for _, rule := range append(mine.Rules[:len(mine.Rules):len(mine.Rules)], dockers.Rules...) {
			if rule.names(nr) && len(rule.Conditions) > 0 {
				calls = append(calls[:len(calls):len(calls)], bothSides(rule)...)
			}
		}
		for _, args := range calls {
			a, b := ours.run(nr, args), theirs.run(nr, args)
			name := nameOf(mine, nr)
			switch {
			case a.Allows() && !b.Allows() && !harmlessUpperBits(name, theirs, nr, args):
				used[name] = true
				if beyondDocker[name] == "" {
					t.Errorf("%s(%#x): %s here, %s in Docker's profile, and no reason listed", name, args, a, b)
				}
			case !a.Allows() && b.Allows():
				tighter[nr] = true
			}
		}
	}
	for name := range beyondDocker {
		if !used[name] {
			t.Errorf("%s is listed as allowed beyond Docker's profile and is not", name)
		}
	}
	if len(tighter) < 40 {
		t.Errorf("only %d calls are refused that Docker allows", len(tighter))
	}
	t.Logf("%d calls are refused, wholly or in part, that Docker allows", len(tighter))
}

// harmlessUpperBits reports whether Docker's profile allows the same call
// once the upper halves, which the kernel drops from int arguments, are
// clear: there its comparisons of 64 bits are stricter in form only.
func harmlessUpperBits(name string, theirs machine, nr int, args [6]uint64) bool {
	for _, index := range narrow[name] {
		args[index] &= 0xffffffff
	}
	return theirs.run(nr, args).Allows()
}

func nameOf(p *Profile, nr int) string {
	for _, rule := range p.Rules {
		for _, call := range rule.Syscalls {
			if call.Number == nr {
				return call.Name
			}
		}
	}
	return "unnamed"
}

// Some profile that operators have at hand works, and means what its gates
// say for a sandbox without capabilities.
func TestDockersProfileIsReadForASandboxWithoutCapabilities(t *testing.T) {
	check(t, dockerProfile(t), append(
		words(t, Errno(eperm), `mount bpf setns unshare reboot chroot init_module open_by_handle_at perf_event_open syslog keyctl`),
		append(words(t, Allow, `read ptrace process_vm_readv arch_prctl modify_ldt futex_wait`),
			words(t, Errno(enosys), `clone3`)...)...))
}

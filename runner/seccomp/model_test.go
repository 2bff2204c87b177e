package seccomp

import (
	"testing"

	"github.com/creel-sandbox/creel/profiles"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// decide is the package documentation's order in its plainest form: what the
// compiled program is compared with.
func decide(p *Profile, nr int, args [6]uint64) Action {
	fallback := p.Default
	allowed := Action(0)
	for _, rule := range p.Rules {
		if !rule.names(nr) || !rule.holds(args) {
			continue
		}
		switch {
		case !rule.Action.Allows() && len(rule.Conditions) > 0:
			return rule.Action
		case rule.Action.Allows():
			allowed = rule.Action
		default:
			fallback = rule.Action
		}
	}
	if allowed != 0 {
		return allowed
	}
	return fallback
}

func (r Rule) names(nr int) bool {
	for _, call := range r.Syscalls {
		if call.Number == nr {
			return true
		}
	}
	return false
}

func (r Rule) holds(args [6]uint64) bool {
	for _, c := range r.Conditions {
		if !c.holds(args[c.Index]) {
			return false
		}
	}
	return true
}

func (c Condition) holds(arg uint64) bool {
	switch c.Operator {
	case NotEqual:
		return arg != c.Value
	case Less:
		return arg < c.Value
	case LessOrEqual:
		return arg <= c.Value
	case Equal:
		return arg == c.Value
	case GreaterOrEqual:
		return arg >= c.Value
	case Greater:
		return arg > c.Value
	default:
		return arg&c.Value == c.ValueTwo
	}
}

// machine runs one program many times; Simulate decodes it each time.
type machine struct {
	t  *testing.T
	vm *bpf.VM
}

func newMachine(t *testing.T, p Program) machine {
	t.Helper()
	instructions, err := p.decode()
	if err != nil {
		t.Fatal(err)
	}
	vm, err := bpf.NewVM(instructions)
	if err != nil {
		t.Fatal(err)
	}
	return machine{t, vm}
}

func (m machine) run(nr int, args [6]uint64) Action {
	m.t.Helper()
	verdict, err := m.vm.Run(Data{Nr: int32(nr), Arch: unix.AUDIT_ARCH_X86_64, Args: args}.image())
	if err != nil {
		m.t.Fatal(err)
	}
	return Action(uint32(verdict))
}

func mustParse(t testing.TB, name string, data []byte) *Profile {
	t.Helper()
	profile, err := Parse(name, data)
	if err != nil {
		t.Fatal(err)
	}
	return profile
}

func mustCompile(t testing.TB, profile *Profile) Program {
	t.Helper()
	program, err := Compile(profile)
	if err != nil {
		t.Fatal(err)
	}
	return program
}

func defaultProfile(t testing.TB) *Profile {
	t.Helper()
	data, ok := profiles.Seccomp("default")
	if !ok {
		t.Fatal("there is no default profile")
	}
	return mustParse(t, "default.json", data)
}

func floorProfile(t testing.TB) *Profile {
	t.Helper()
	return mustParse(t, "floor.json", profiles.Floor())
}

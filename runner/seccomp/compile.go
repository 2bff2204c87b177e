package seccomp

import (
	"fmt"
	"os"
	"runtime"
	"slices"

	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"
)

// Program is an array of struct sock_filter in the byte order of the machine,
// ready for seccomp(2). It may be kept and used any number of times.
type Program []byte

// binaryTree is libseccomp's optimization level 2: calls are found by number
// in logarithmic instead of linear time. It matters when the filter is
// installed, as the kernel then tries every call to cache which are allowed.
const binaryTree = 2

// Compile turns a profile into a program. It fails if libseccomp refuses a
// rule, if the program is longer than the kernel takes, or if the result does
// not kill foreign ABIs.
func Compile(profile *Profile) (Program, error) {
	if err := profile.compilable(); err != nil {
		return nil, err
	}
	spans := profile.spans()
	program, err := front(spans)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(spans, func(s span) bool { return s.verdict == undecided }) {
		rest, err := profile.conditional().compile()
		if err != nil {
			return nil, err
		}
		program = program.then(undecided, rest)
	}
	if err := program.verify(); err != nil {
		return nil, fmt.Errorf("verify program: %w", err)
	}
	return program, nil
}

// conditional is the part of the profile about calls with conditions.
func (p *Profile) conditional() *Profile {
	concerned := map[int]bool{}
	for _, rule := range p.Rules {
		for _, call := range rule.Syscalls {
			concerned[call.Number] = concerned[call.Number] || len(rule.Conditions) > 0
		}
	}
	part := &Profile{Name: p.Name, Default: p.Default}
	for _, rule := range p.Rules {
		rule.Syscalls = slices.Clone(rule.Syscalls)
		rule.Syscalls = slices.DeleteFunc(rule.Syscalls, func(call Syscall) bool { return !concerned[call.Number] })
		part.Rules = append(part.Rules, rule)
	}
	return part
}

// compile has libseccomp compile each stage of the package documentation's
// order, and joins them.
func (p *Profile) compile() (Program, error) {
	refusals, allowances, fallbacks := p.stages()
	program, err := build(p.Default, fallbacks)
	if err != nil {
		return nil, fmt.Errorf("compile refusals without conditions: %w", err)
	}
	if len(allowances) > 0 {
		// Anything that is no allowance will do as the default: it is only
		// marked to be replaced.
		stage, err := build(Errno(unix.EPERM), allowances)
		if err != nil {
			return nil, fmt.Errorf("compile allowances: %w", err)
		}
		program = stage.then(Errno(unix.EPERM), program)
	}
	if len(refusals) > 0 {
		stage, err := build(Allow, refusals)
		if err != nil {
			return nil, fmt.Errorf("compile refusals with conditions: %w", err)
		}
		program = stage.then(Allow, program)
	}
	return program, nil
}

// stages sorts rules by the order in which they decide. libseccomp itself has
// no such order: given an unconditional and a conditional rule for one call,
// it forgets the conditional one.
func (p *Profile) stages() (refusals, allowances, fallbacks []Rule) {
	for _, rule := range p.Rules {
		switch {
		case rule.Action.Allows():
			allowances = append(allowances, rule)
		case len(rule.Conditions) > 0:
			refusals = append(refusals, rule)
		case rule.Action != p.Default: // libseccomp takes no rule that says what its default says
			fallbacks = append(fallbacks, rule)
		}
	}
	return refusals, allowances, fallbacks
}

// compilable refuses actions that this package has no meaning for.
func (p *Profile) compilable() error {
	if _, err := p.Default.native(); err != nil {
		return fmt.Errorf("compile default action: %w", err)
	}
	for _, rule := range p.Rules {
		if _, err := rule.Action.native(); err != nil {
			return fmt.Errorf("compile rule of line %d: %w", rule.Line, err)
		}
	}
	return nil
}

// build compiles rules of which at most one can match a call.
func build(fallback Action, rules []Rule) (Program, error) {
	filter, err := newFilter(fallback)
	if err != nil {
		return nil, err
	}
	defer filter.Release()
	for _, rule := range rules {
		if err := add(filter, rule); err != nil {
			return nil, err
		}
	}
	return export(filter)
}

func newFilter(fallback Action) (*libseccomp.ScmpFilter, error) {
	action, err := fallback.native()
	if err != nil {
		return nil, err
	}
	filter, err := libseccomp.NewFilter(action)
	if err != nil {
		return nil, fmt.Errorf("make filter: %w", err)
	}
	// A new filter knows the native architecture alone, so every other one,
	// x32 included, is bad.
	if err := filter.SetBadArchAction(libseccomp.ActKillProcess); err != nil {
		filter.Release()
		return nil, fmt.Errorf("set action for foreign ABIs: %w", err)
	}
	if err := filter.SetOptimize(binaryTree); err != nil {
		filter.Release()
		return nil, fmt.Errorf("set optimization: %w", err)
	}
	return filter, nil
}

func add(filter *libseccomp.ScmpFilter, rule Rule) error {
	action, err := rule.Action.native()
	if err != nil {
		return err
	}
	conditions, err := rule.native()
	if err != nil {
		return err
	}
	for _, call := range rule.Syscalls {
		// Exact: rather fail than let libseccomp reshape the rule.
		err := filter.AddRuleConditionalExact(libseccomp.ScmpSyscall(call.Number), action, conditions)
		if err != nil {
			return fmt.Errorf("add rule of line %d for %s: %w", rule.Line, call.Name, err)
		}
	}
	return nil
}

// export gets the program by way of a memfd: libseccomp 2.5 only writes to a
// descriptor, and a policy should not pass through a disk.
func export(filter *libseccomp.ScmpFilter) (Program, error) {
	fd, err := unix.MemfdCreate("seccomp", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make memfd: %w", err)
	}
	file := os.NewFile(uintptr(fd), "memfd:seccomp")
	defer file.Close()
	if err := filter.ExportBPF(file); err != nil {
		return nil, fmt.Errorf("export program: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("read program: %w", err)
	}
	program := make(Program, info.Size())
	if _, err := file.ReadAt(program, 0); err != nil {
		return nil, fmt.Errorf("read program: %w", err)
	}
	return program, nil
}

func (a Action) native() (libseccomp.ScmpAction, error) {
	if errno, ok := a.Errno(); ok {
		return libseccomp.ActErrno.SetReturnCode(int16(errno)), nil
	}
	switch a {
	case KillProcess:
		return libseccomp.ActKillProcess, nil
	case KillThread:
		return libseccomp.ActKillThread, nil
	case Trap:
		return libseccomp.ActTrap, nil
	case Log:
		return libseccomp.ActLog, nil
	case Allow:
		return libseccomp.ActAllow, nil
	}
	return libseccomp.ActInvalid, fmt.Errorf("%s cannot be compiled", a)
}

func (r Rule) native() ([]libseccomp.ScmpCondition, error) {
	operators := map[Operator]libseccomp.ScmpCompareOp{
		NotEqual:       libseccomp.CompareNotEqual,
		Less:           libseccomp.CompareLess,
		LessOrEqual:    libseccomp.CompareLessOrEqual,
		Equal:          libseccomp.CompareEqual,
		GreaterOrEqual: libseccomp.CompareGreaterEqual,
		Greater:        libseccomp.CompareGreater,
		MaskedEqual:    libseccomp.CompareMaskedEqual,
	}
	conditions := make([]libseccomp.ScmpCondition, 0, len(r.Conditions))
	for _, c := range r.Conditions {
		condition, err := libseccomp.MakeCondition(c.Index, operators[c.Operator], c.Value, c.ValueTwo)
		if err != nil {
			return nil, fmt.Errorf("compile condition of line %d: %w", r.Line, err)
		}
		conditions = append(conditions, condition)
	}
	return conditions, nil
}

// verify runs the program on calls that must kill: libseccomp is the only one
// to say what bad architectures are, and a mistake there would be silent.
func (p Program) verify() error {
	foreign := []Data{{Arch: unix.AUDIT_ARCH_I386, Nr: 1}, {Arch: unix.AUDIT_ARCH_ARM, Nr: 1}, {Arch: 0}}
	if runtime.GOARCH == "amd64" {
		foreign = append(foreign, Data{Arch: unix.AUDIT_ARCH_X86_64, Nr: x32Bit}, Data{Arch: unix.AUDIT_ARCH_X86_64, Nr: x32Bit + 520})
	}
	for _, call := range foreign {
		verdict, err := Simulate(p, call)
		if err != nil {
			return err
		}
		if verdict != KillProcess {
			return fmt.Errorf("call %d of architecture %#x ends with %s, not %s", call.Nr, call.Arch, verdict, KillProcess)
		}
	}
	return nil
}

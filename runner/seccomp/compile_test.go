package seccomp

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Values around the word boundary and the sign bits of both halves, where a
// 64-bit comparison made of 32-bit instructions can go wrong.
var boundaries = []uint64{0, 1, 2, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff, 1 << 32, 1<<32 | 1, 0x7fffffff_ffffffff, 0x80000000_00000000, 0xffffffff_00000000, ^uint64(0) - 1, ^uint64(0)}

func TestEveryOperatorCompilesToItsMeaning(t *testing.T) {
	for _, operator := range []Operator{NotEqual, Less, LessOrEqual, Equal, GreaterOrEqual, Greater, MaskedEqual} {
		for _, value := range boundaries {
			condition := Condition{Index: 5, Operator: operator, Value: value}
			if operator == MaskedEqual {
				condition.ValueTwo = value & 0x80000001_80000001
			}
			profile := &Profile{Default: KillThread, Rules: []Rule{{
				Syscalls: []Syscall{{"dup", unix.SYS_DUP}}, Action: Allow, Conditions: []Condition{condition},
			}}}
			machine := newMachine(t, mustCompile(t, profile))
			for _, arg := range boundaries {
				args := [6]uint64{5: arg}
				if got, want := machine.run(unix.SYS_DUP, args), decide(profile, unix.SYS_DUP, args); got != want {
					t.Errorf("%#x %s %#x: %s, want %s", arg, operator, value, got, want)
				}
			}
		}
	}
}

func TestEveryActionSurvivesCompilation(t *testing.T) {
	for _, action := range []Action{KillProcess, KillThread, Trap, Log, Allow, Errno(0), Errno(unix.EPERM), Errno(maxErrno)} {
		profile := &Profile{Default: Errno(unix.ENOSYS), Rules: []Rule{
			{Syscalls: []Syscall{{"dup", unix.SYS_DUP}}, Action: action},
			{Syscalls: []Syscall{{"dup2", unix.SYS_DUP2}}, Action: action, Conditions: []Condition{{0, Equal, 7, 0}}},
		}}
		machine := newMachine(t, mustCompile(t, profile))
		if got := machine.run(unix.SYS_DUP, [6]uint64{}); got != action {
			t.Errorf("unconditional %s became %s", action, got)
		}
		if got := machine.run(unix.SYS_DUP2, [6]uint64{7}); got != action {
			t.Errorf("conditional %s became %s", action, got)
		}
		if got := machine.run(unix.SYS_DUP2, [6]uint64{8}); got != Errno(unix.ENOSYS) {
			t.Errorf("beside conditional %s: %s, want the default", action, got)
		}
	}
}

// More spans than a conditional jump reaches over.
func TestEveryNumberIsFoundAmongManySpans(t *testing.T) {
	profile := &Profile{Default: Errno(unix.ENOSYS)}
	for nr := 0; nr < 2*highestNumber; nr += 2 {
		profile.Rules = append(profile.Rules, Rule{Syscalls: []Syscall{{"even", nr}}, Action: Allow})
	}
	machine := newMachine(t, mustCompile(t, profile))
	for nr := range 2*highestNumber + 10 {
		if got, want := machine.run(nr, [6]uint64{}), decide(profile, nr, [6]uint64{}); got != want {
			t.Errorf("call %d: %s, want %s", nr, got, want)
		}
	}
}

func TestNumberOfASkippedCallDoesNotKill(t *testing.T) {
	if got := newMachine(t, mustCompile(t, defaultProfile(t))).run(-1, [6]uint64{}); got != Errno(unix.ENOSYS) {
		t.Errorf("call -1: %s, want %s", got, Errno(unix.ENOSYS))
	}
}

func TestUnknownActionIsNotCompiled(t *testing.T) {
	for _, profile := range []*Profile{
		{Default: unix.SECCOMP_RET_USER_NOTIF},
		{Default: Allow, Rules: []Rule{{Syscalls: []Syscall{{"dup", unix.SYS_DUP}}, Action: unix.SECCOMP_RET_TRACE}}},
	} {
		if _, err := Compile(profile); err == nil || !strings.Contains(err.Error(), "cannot be compiled") {
			t.Errorf("Compile = %v, want a refusal", err)
		}
	}
}

func TestProgramThatSparesForeignABIsIsRefused(t *testing.T) {
	program := mustCompile(t, defaultProfile(t))
	if err := program.verify(); err != nil {
		t.Fatal(err)
	}
	// The same program with every kill turned into an allowance.
	if err := program.then(KillProcess, Program{unix.BPF_RET, 0, 0, 0, 0, 0, 0xff, 0x7f}).verify(); err == nil {
		t.Error("a program that allows int80 passes")
	}
}

func TestProgramLongerThanTheKernelTakesIsRefused(t *testing.T) {
	rule := Rule{Syscalls: []Syscall{{"dup", unix.SYS_DUP}}, Action: Allow}
	profile := &Profile{Default: KillThread}
	for i := range uint64(maxInstructions / 2) {
		rule.Conditions = []Condition{{0, Equal, i, 0}, {1, Equal, i, 0}}
		profile.Rules = append(profile.Rules, rule)
	}
	if _, err := Compile(profile); err == nil {
		t.Error("a profile of thousands of conditions compiles")
	}
}

func TestWhatIsNoProgramIsNotSimulated(t *testing.T) {
	for name, program := range map[string]Program{
		"empty":        {},
		"cut short":    make(Program, 7),
		"too long":     make(Program, (maxInstructions+1)*instructionSize),
		"no return":    make(Program, instructionSize),
		"jump outside": {unix.BPF_JMP, 0, 0, 0, 9, 0, 0, 0, unix.BPF_RET, 0, 0, 0, 0, 0, 0, 0},
	} {
		if verdict, err := Simulate(program, Data{}); err == nil {
			t.Errorf("%s: verdict %s, want an error", name, verdict)
		}
	}
}

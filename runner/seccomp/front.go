package seccomp

import (
	"fmt"
	"maps"
	"math"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"
)

// The front of a program decides the calls that no condition concerns, which
// are nearly all, by a binary search over ranges of numbers with the same
// verdict. libseccomp knows no ranges. What that costs is paid at every
// invocation: when a filter is installed, the kernel translates all of it
// and walks it once for each system call there is. With the front that takes
// a third of the time.

// undecided is the front's verdict where arguments matter. A program never
// ends with it; if one did, the kernel would refuse the call, as there is no
// tracer.
const undecided Action = unix.SECCOMP_RET_TRACE

// span is a range of call numbers, up to the first of the next span.
type span struct {
	first   uint32
	verdict Action
}

// x32Bit marks calls of the x32 ABI (__X32_SYSCALL_BIT, asm/unistd.h).
const x32Bit = 0x40000000

// spans divides all numbers by verdict.
func (p *Profile) spans() []span {
	verdicts := map[uint32]Action{}
	if runtime.GOARCH == "amd64" {
		verdicts[x32Bit] = KillProcess // up to the next number below
		// The number with which a tracer skips a call is of no ABI.
		verdicts[math.MaxUint32] = p.Default
	}
	for _, rule := range p.Rules {
		for _, call := range rule.Syscalls {
			number := uint32(call.Number)
			switch before, seen := verdicts[number]; {
			case len(rule.Conditions) > 0 || before == undecided:
				verdicts[number] = undecided
			case !seen || rule.Action.Allows():
				verdicts[number] = rule.Action
			}
		}
	}
	all := []span{{0, p.Default}}
	add := func(s span) {
		if last := &all[len(all)-1]; last.first == s.first {
			*last = s
		} else {
			all = append(all, s)
		}
	}
	for _, number := range slices.Sorted(maps.Keys(verdicts)) {
		add(span{number, verdicts[number]})
		if number < x32Bit {
			add(span{number + 1, p.Default})
		}
	}
	return slices.CompactFunc(all, func(a, b span) bool { return a.verdict == b.verdict })
}

// front compiles the spans, after a check of the architecture.
func front(spans []span) (Program, error) {
	arch, ok := map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}[runtime.GOARCH]
	if !ok {
		return nil, fmt.Errorf("compile front: no support for %s", runtime.GOARCH)
	}
	// Offsets of nr and arch in struct seccomp_data, seccomp(2).
	const atNumber, atArch = 0, 4
	return slices.Concat(
		instruction(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, 0, 0, atArch),
		instruction(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, 1, 0, arch),
		instruction(opReturn, 0, 0, uint32(KillProcess)),
		instruction(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, 0, 0, atNumber),
		search(spans),
	), nil
}

// search compiles a binary search for the span of the loaded number: the
// lower half comes first and is jumped over.
func search(spans []span) Program {
	if len(spans) == 1 {
		return instruction(opReturn, 0, 0, uint32(spans[0].verdict))
	}
	middle := len(spans) / 2
	lower, upper := search(spans[:middle]), search(spans[middle:])
	const opAtLeast = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	over := lower.Instructions()
	if over <= math.MaxUint8 {
		return slices.Concat(instruction(opAtLeast, uint8(over), 0, spans[middle].first), lower, upper)
	}
	// Conditional jumps reach 255 instructions; the unconditional one any.
	return slices.Concat(
		instruction(opAtLeast, 0, 1, spans[middle].first),
		instruction(opJump, 0, 0, uint32(over)),
		lower, upper)
}

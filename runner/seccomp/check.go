package seccomp

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// check reports rules that cannot matter or that disagree, per system call,
// and comparisons that a caller can dodge.
func (p *problems) check(profile *Profile) {
	calls := map[int][]use{}
	for i := range profile.Rules {
		rule := &profile.Rules[i]
		seen := map[string]bool{}
		for _, call := range rule.Syscalls {
			if seen[call.Name] {
				p.add(rule.Line, call.Name, "named twice in one rule")
				continue
			}
			seen[call.Name] = true
			calls[call.Number] = append(calls[call.Number], use{rule, call.Name})
			p.checkWidth(rule, call.Name)
		}
	}
	for _, uses := range calls {
		p.checkPairs(uses)
		p.checkMatters(uses, profile.Default)
	}
}

// use is one rule about one system call.
type use struct {
	*Rule
	name string
}

// checkPairs reports two rules about the same calls with the same arguments.
func (p *problems) checkPairs(uses []use) {
	first := map[string]use{}
	for _, u := range uses {
		key := u.conditionKey()
		before, ok := first[key]
		switch {
		case !ok:
			first[key] = u
		case before.Action == u.Action:
			p.add(u.Line, u.name, "duplicate: the rule at line %d says the same", before.Line)
		default:
			p.add(u.Line, u.name, "contradictory: the rule at line %d says %s for the same calls, this one %s", before.Line, before.Action, u.Action)
		}
	}
}

// conditionKey is equal for rules whose conditions are.
func (r *Rule) conditionKey() string {
	keys := make([]string, len(r.Conditions))
	for i, c := range r.Conditions {
		keys[i] = fmt.Sprint(c)
	}
	sort.Strings(keys)
	return strings.Join(keys, " ")
}

// checkMatters reports rules that others about the same call make
// meaningless, by the order of the package documentation.
func (p *problems) checkMatters(uses []use, fallback Action) {
	var allowsAll, refusesAll *Rule
	allowsSome := false
	for _, u := range uses {
		switch {
		case u.Action.Allows() && len(u.Conditions) == 0:
			allowsAll, allowsSome = u.Rule, true
		case u.Action.Allows():
			allowsSome = true
		case len(u.Conditions) == 0:
			refusesAll, fallback = u.Rule, u.Action
		}
	}
	for _, u := range uses {
		switch {
		case u.Rule == allowsAll && fallback.Allows():
			p.add(u.Line, u.name, "dangling: the default allows every call already")
		case u.Action.Allows() && u.Rule != allowsAll && (allowsAll != nil || fallback.Allows()):
			p.add(u.Line, u.name, "dangling: every call is allowed already")
		case !u.Action.Allows() && len(u.Conditions) > 0 && !allowsSome && u.Action == fallback:
			p.add(u.Line, u.name, "dangling: such calls end with %s anyway", fallback)
		case u.Rule == refusesAll && allowsAll != nil:
			p.add(u.Line, u.name, "dangling: the rule at line %d allows every call", allowsAll.Line)
		}
	}
}

// narrow lists arguments of which the kernel reads only 32 bits or fewer
// (int, unsigned int, umode_t in the definition of the call; clone drops the
// upper half of its flags). The caller chooses the rest of the register.
var narrow = map[string][]uint{
	"arch_prctl": {0}, "bpf": {0}, "clone": {0}, "fcntl": {1}, "getsockopt": {1, 2},
	"ioctl": {1}, "keyctl": {0}, "kill": {0, 1}, "mknod": {1}, "mknodat": {2},
	"openat": {2}, "personality": {0}, "prctl": {0}, "prlimit64": {0, 1},
	"seccomp": {0, 1}, "setsockopt": {1, 2}, "socket": {0, 1, 2}, "socketpair": {0, 1, 2},
}

// checkWidth reports comparisons that look at bits the kernel drops, where
// setting one of them turns a refused call into an allowed one: 0x100005412
// is TIOCSTI to the kernel and not equal to TIOCSTI here (CVE-2019-10063).
func (p *problems) checkWidth(rule *Rule, name string) {
	for _, c := range rule.Conditions {
		if slices.Contains(narrow[name], c.Index) && c.dodged(rule.Action.Allows()) {
			p.add(rule.Line, name, "argument %s is compared in 64 bits and the kernel reads 32, so setting a higher bit gets around this rule: use SCMP_CMP_MASKED_EQ with a mask of at most 4294967295",
				strconv.FormatUint(uint64(c.Index), 10))
		}
	}
}

// dodged reports whether a set upper bit makes an allowing condition hold, or
// a refusing one fail.
func (c Condition) dodged(allows bool) bool {
	switch c.Operator {
	case NotEqual, Greater, GreaterOrEqual:
		return allows
	case Equal, Less, LessOrEqual:
		return !allows
	default:
		return !allows && c.Value>>32 != 0
	}
}

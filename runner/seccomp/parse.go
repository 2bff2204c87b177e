package seccomp

import (
	"cmp"
	"math"
	"slices"
	"syscall"
)

// maxFileSize bounds a profile; Docker's own is under 20 KiB.
const maxFileSize = 1 << 20

// maxErrno is what libseccomp takes: below MAX_ERRNO of the kernel (4095).
const maxErrno = 4094

// Parse reads a profile in Docker's JSON format and checks it. Rules meant
// for a capability, another architecture or an unmet kernel are left out. The
// error is a *ProblemsError with everything that is wrong; name is only used
// in it and in the profile.
func Parse(name string, data []byte) (*Profile, error) {
	profile, found := parse(name, data)
	if len(found) > 0 {
		slices.SortFunc(found, func(a, b Problem) int {
			return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Message, b.Message))
		})
		return nil, &ProblemsError{Name: name, Problems: found}
	}
	return profile, nil
}

func parse(name string, data []byte) (*Profile, problems) {
	p := &parser{profile: &Profile{Name: name}}
	if len(data) > maxFileSize {
		p.add(1, "file", "is larger than %d bytes", maxFileSize)
		return nil, p.problems
	}
	root, err := decode(data)
	if err != nil {
		p.add(1, "file", "%v", err)
		return nil, p.problems
	}
	p.document(root)
	if len(p.problems) == 0 {
		// Only well-formed rules can be compared with each other.
		p.check(p.profile)
	}
	return p.profile, p.problems
}

type parser struct {
	problems
	profile *Profile
}

func (p *parser) document(root node) {
	action, errno := optionalText{}, optionalErrno{}
	p.object(root, "", fields{
		"defaultAction":    func(n node, key string) { action.set(n, p.text(n, key)) },
		"defaultErrnoRet":  func(n node, key string) { errno.set(n, key, p.number(n, key, maxErrno)) },
		"architectures":    func(n node, key string) { p.architectures(n, key, p.texts(n, key)) },
		"archMap":          p.archMap,
		"flags":            p.onlyEmpty("flags are set by creel-init alone"),
		"listenerPath":     p.onlyEmpty("no process may decide calls for a sandbox"),
		"listenerMetadata": p.onlyEmpty("no process may decide calls for a sandbox"),
		"syscalls":         func(n node, key string) { p.each(n, key, p.rule) },
	})
	if !action.given {
		p.add(root.line, "defaultAction", "is missing")
		return
	}
	p.profile.Default = p.action(action, "defaultAction", errno)
}

// onlyEmpty reads a key of the format that must not be used.
func (p *parser) onlyEmpty(reason string) func(node, string) {
	return func(n node, key string) {
		if empty := n.scalar == nil || n.scalar == ""; !empty || len(n.object)+len(n.array) > 0 {
			p.add(n.line, key, "is not supported: %s", reason)
		}
	}
}

type optionalText struct {
	line  int
	text  string
	given bool
}

func (o *optionalText) set(n node, text string) { *o = optionalText{n.line, text, true} }

type optionalErrno struct {
	line  int
	key   string
	value syscall.Errno
	given bool
}

func (o *optionalErrno) set(n node, key string, value uint64) {
	*o = optionalErrno{n.line, key, syscall.Errno(value), true}
}

// rule reads one element of syscalls and keeps it if it concerns a sandbox.
func (p *parser) rule(n node, key string) {
	rule := Rule{Line: n.line}
	applies, wrong := true, len(p.problems)
	action, errno, names := optionalText{}, optionalErrno{}, false
	p.object(n, key, fields{
		"names": func(n node, key string) {
			names = len(n.array) > 0
			p.each(n, key, func(n node, key string) { p.syscall(&rule, n, key) })
		},
		"action":   func(n node, key string) { action.set(n, p.text(n, key)) },
		"errnoRet": func(n node, key string) { errno.set(n, key, p.number(n, key, maxErrno)) },
		"args":     func(n node, key string) { p.each(n, key, func(n node, key string) { p.condition(&rule, n, key) }) },
		"comment":  func(n node, key string) { rule.Comment = p.text(n, key) },
		"includes": func(n node, key string) { applies = p.gate(n, key).includes() && applies },
		"excludes": func(n node, key string) { applies = !p.gate(n, key).excludes() && applies },
	})
	if !names {
		p.add(n.line, join(key, "names"), "names no system call")
	}
	if !action.given {
		p.add(n.line, join(key, "action"), "is missing")
		return
	}
	rule.Action = p.action(action, join(key, "action"), errno)
	if !applies {
		return
	}
	if len(rule.Syscalls) == 0 && len(p.problems) == wrong {
		p.add(n.line, join(key, "names"), "dangling: none of these calls exists on this architecture")
	}
	p.profile.Rules = append(p.profile.Rules, rule)
}

func (p *parser) syscall(rule *Rule, n node, key string) {
	name := p.text(n, key)
	number, native, known := resolve(name)
	switch {
	case !known:
		p.add(n.line, key, "%q is not a known system call", name)
	case native:
		rule.Syscalls = append(rule.Syscalls, Syscall{Name: name, Number: number})
	}
}

func (p *parser) condition(rule *Rule, n node, key string) {
	var c Condition
	given := map[string]bool{}
	number := func(name string, limit uint64, to func(uint64)) func(node, string) {
		return func(n node, key string) { given[name] = true; to(p.number(n, key, limit)) }
	}
	p.object(n, key, fields{
		"index":    number("index", 5, func(v uint64) { c.Index = uint(v) }),
		"value":    number("value", math.MaxUint64, func(v uint64) { c.Value = v }),
		"valueTwo": number("valueTwo", math.MaxUint64, func(v uint64) { c.ValueTwo = v }),
		"op":       func(n node, key string) { given["op"] = true; c.Operator = Operator(p.text(n, key)) },
	})
	for _, name := range []string{"index", "value", "op"} {
		if !given[name] {
			p.add(n.line, join(key, name), "is missing")
			return
		}
	}
	p.satisfiable(c, n.line, key)
	for _, other := range rule.Conditions {
		if other.Index == c.Index {
			p.add(n.line, key, "a second condition on argument %d: runtimes disagree on what that means; write two rules, or one SCMP_CMP_MASKED_EQ", c.Index)
		}
	}
	rule.Conditions = append(rule.Conditions, c)
}

// satisfiable reports conditions that hold never or always.
func (p *parser) satisfiable(c Condition, line int, key string) {
	switch c.Operator {
	case MaskedEqual:
		if c.ValueTwo&^c.Value != 0 {
			p.add(line, key, "dangling: never holds, valueTwo %#x has bits outside the mask %#x", c.ValueTwo, c.Value)
		}
		if c.Value == 0 {
			p.add(line, key, "the mask is 0, so every call matches; leave the condition out")
		}
	case Less:
		if c.Value == 0 {
			p.add(line, key, "dangling: never holds, no argument is below 0")
		}
	case GreaterOrEqual:
		if c.Value == 0 {
			p.add(line, key, "always holds; leave the condition out")
		}
	case NotEqual, LessOrEqual, Equal, Greater:
	default:
		p.add(line, join(key, "op"), "unknown comparison %q", string(c.Operator))
	}
	if c.Operator != MaskedEqual && c.ValueTwo != 0 {
		p.add(line, join(key, "valueTwo"), "is only used by SCMP_CMP_MASKED_EQ")
	}
}

// action reads an action of libseccomp's names; without an errno, refusals
// fail with EPERM, as in every OCI runtime.
func (p *parser) action(a optionalText, key string, errno optionalErrno) Action {
	actions := map[string]Action{
		"SCMP_ACT_ALLOW":        Allow,
		"SCMP_ACT_LOG":          Log,
		"SCMP_ACT_TRAP":         Trap,
		"SCMP_ACT_KILL":         KillThread,
		"SCMP_ACT_KILL_THREAD":  KillThread,
		"SCMP_ACT_KILL_PROCESS": KillProcess,
	}
	if a.text == "SCMP_ACT_ERRNO" {
		if !errno.given {
			return Errno(syscall.EPERM)
		}
		return Errno(errno.value)
	}
	if errno.given {
		p.add(errno.line, errno.key, "is only used with SCMP_ACT_ERRNO")
	}
	action, ok := actions[a.text]
	switch {
	case a.text == "SCMP_ACT_NOTIFY" || a.text == "SCMP_ACT_TRACE":
		p.add(a.line, key, "%s is not supported: no process may decide calls for a sandbox", a.text)
	case !ok:
		p.add(a.line, key, "unknown action %q", a.text)
	}
	return action
}

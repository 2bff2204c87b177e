package seccomp

import (
	"errors"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// wrap puts rules into an otherwise good profile that refuses by default;
// the rules start at line 1.
func wrap(rules string) string {
	return `{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [` + rules + `]}`
}

// badProfiles are refused; each message is part of one problem, and each
// problem must be expected.
var badProfiles = map[string]struct {
	profile string
	want    []string
}{
	"empty":                     {``, []string{"p:1: file: line 1: decode JSON: unexpected EOF"}},
	"cut short":                 {`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [`, []string{"unexpected EOF"}},
	"trailing document":         {`{"defaultAction": "SCMP_ACT_ALLOW"} {}`, []string{"text after the end"}},
	"not an object":             {`[]`, []string{"p:1: : must be an object", "defaultAction: is missing"}},
	"deep nesting":              {strings.Repeat("[", 100000), []string{"nested more than 8 deep"}},
	"too large":                 {strings.Repeat(" ", maxFileSize+1), []string{"larger than 1048576 bytes"}},
	"no default action":         {`{"syscalls": []}`, []string{"defaultAction: is missing"}},
	"unknown key":               {`{"defaultAction": "SCMP_ACT_ALLOW", "sysCalls": []}`, []string{"sysCalls: unknown key; known here: archMap, architectures, defaultAction"}},
	"key in other case":         {`{"DefaultAction": "SCMP_ACT_ALLOW"}`, []string{"DefaultAction: unknown key", "defaultAction: is missing"}},
	"key twice":                 {"{\"defaultAction\": \"SCMP_ACT_ERRNO\",\n\"defaultAction\": \"SCMP_ACT_ALLOW\"}", []string{"p:2: defaultAction: given twice"}},
	"default of no kind":        {`{"defaultAction": 1}`, []string{"defaultAction: must be a string", `unknown action ""`}},
	"notify":                    {`{"defaultAction": "SCMP_ACT_NOTIFY"}`, []string{"SCMP_ACT_NOTIFY is not supported"}},
	"trace":                     {wrap(`{"names": ["read"], "action": "SCMP_ACT_TRACE"}`), []string{"syscalls[0].action: SCMP_ACT_TRACE is not supported"}},
	"listener":                  {`{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/x"}`, []string{"listenerPath: is not supported"}},
	"flags":                     {`{"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]}`, []string{"flags: is not supported"}},
	"other architecture":        {`{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86"]}`, []string{"architectures: lacks SCMP_ARCH_X86_64"}},
	"archMap of others":         {`{"defaultAction": "SCMP_ACT_ALLOW", "archMap": [{"architecture": "SCMP_ARCH_S390X", "subArchitectures": ["SCMP_ARCH_X86_64"]}]}`, []string{"archMap: lacks SCMP_ARCH_X86_64"}},
	"errno of an allow":         {wrap(`{"names": ["read"], "action": "SCMP_ACT_ALLOW", "errnoRet": 1}`), []string{"syscalls[0].errnoRet: is only used with SCMP_ACT_ERRNO"}},
	"errno too large":           {wrap(`{"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4095}`), []string{"errnoRet: must be a whole number from 0 to 4094"}},
	"errno of default negative": {`{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": -1}`, []string{"defaultErrnoRet: must be a whole number"}},
	"no names":                  {wrap(`{"action": "SCMP_ACT_ALLOW"}`), []string{"syscalls[0].names: names no system call"}},
	"empty names":               {wrap(`{"names": [], "action": "SCMP_ACT_ALLOW"}`), []string{"names: names no system call"}},
	"names of no list":          {wrap(`{"names": "read", "action": "SCMP_ACT_ALLOW"}`), []string{"names: must be a list", "names no system call"}},
	"old single name":           {wrap(`{"name": "read", "action": "SCMP_ACT_ALLOW"}`), []string{"syscalls[0].name: unknown key", "names no system call"}},
	"unknown call":              {wrap("\n{\"names\": [\"read\",\n\"raed\"], \"action\": \"SCMP_ACT_ALLOW\"}"), []string{`p:3: syscalls[0].names[1]: "raed" is not a known system call`}},
	"only foreign calls":        {wrap(`{"names": ["socketcall", "riscv_hwprobe"], "action": "SCMP_ACT_ALLOW"}`), []string{"dangling: none of these calls exists"}},
	"no action":                 {wrap(`{"names": ["read"]}`), []string{"syscalls[0].action: is missing"}},
	"unknown action":            {wrap(`{"names": ["read"], "action": "ALLOW"}`), []string{`unknown action "ALLOW"`}},
	"newer kernel":              {wrap(`{"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "6.1"}}`), []string{"includes.minKernel: is newer than 5.6"}},
	"odd kernel":                {wrap(`{"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8.1"}}`), []string{`"4.8.1" is not KERNEL.MAJOR`}},
	"unknown gate":              {wrap(`{"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {"cap": []}}`), []string{"includes.cap: unknown key; known here: arches, caps, minKernel"}},
	"all problems at once": {wrap("{\"names\": [\"raed\"], \"action\": \"ALLOW\"},\n{\"action\": \"SCMP_ACT_ALLOW\", \"x\": 1}"),
		[]string{"p:1: syscalls[0].action: unknown", "p:1: syscalls[0].names[0]", "p:2: syscalls[1].names", "p:2: syscalls[1].x: unknown key"}},

	"argument 6":           {one(`{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}`), []string{"args[0].index: must be a whole number from 0 to 5"}},
	"fraction":             {one(`{"index": 0, "value": 1.0, "op": "SCMP_CMP_EQ"}`), []string{"args[0].value: must be a whole number"}},
	"beyond 64 bits":       {one(`{"index": 0, "value": 18446744073709551616, "op": "SCMP_CMP_EQ"}`), []string{"args[0].value: must be a whole number"}},
	"number as text":       {one(`{"index": 0, "value": "1", "op": "SCMP_CMP_EQ"}`), []string{"args[0].value: must be a whole number"}},
	"no operator":          {one(`{"index": 0, "value": 1}`), []string{"args[0].op: is missing"}},
	"unknown operator":     {one(`{"index": 0, "value": 1, "op": "=="}`), []string{`args[0].op: unknown comparison "=="`}},
	"unused second value":  {one(`{"index": 0, "value": 1, "valueTwo": 1, "op": "SCMP_CMP_EQ"}`), []string{"args[0].valueTwo: is only used by"}},
	"value out of mask":    {one(`{"index": 0, "value": 1, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}`), []string{"never holds, valueTwo 0x2 has bits outside the mask 0x1"}},
	"empty mask":           {one(`{"index": 0, "value": 0, "op": "SCMP_CMP_MASKED_EQ"}`), []string{"the mask is 0"}},
	"below nothing":        {one(`{"index": 0, "value": 0, "op": "SCMP_CMP_LT"}`), []string{"no argument is below 0"}},
	"always":               {one(`{"index": 0, "value": 0, "op": "SCMP_CMP_GE"}`), []string{"always holds"}},
	"one argument twice":   {one(`{"index": 0, "value": 1, "op": "SCMP_CMP_GT"}, {"index": 0, "value": 9, "op": "SCMP_CMP_LT"}`), []string{"args[1]: a second condition on argument 0"}},
	"unknown key of a arg": {one(`{"index": 0, "value": 1, "op": "SCMP_CMP_EQ", "mask": 1}`), []string{"args[0].mask: unknown key"}},
}

// one is a profile with one allowing rule and the given conditions.
func one(conditions string) string {
	return wrap(`{"names": ["dup"], "action": "SCMP_ACT_ALLOW", "args": [` + conditions + `]}`)
}

func TestBadProfilesAreRefusedWithEveryProblem(t *testing.T) {
	for name, bad := range badProfiles {
		t.Run(name, func(t *testing.T) { expectProblems(t, bad.profile, bad.want) })
	}
}

func expectProblems(t *testing.T, profile string, want []string) {
	t.Helper()
	parsed, err := Parse("p", []byte(profile))
	var found *ProblemsError
	if !errors.As(err, &found) || parsed != nil {
		t.Fatalf("Parse = %v, %v; want no profile and a *ProblemsError", parsed, err)
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d problems, want %d:\n%s", len(lines), len(want), err)
	}
	for i := range want {
		if !strings.Contains(lines[i], want[i]) {
			t.Errorf("problem %d is %q, want it to contain %q", i, lines[i], want[i])
		}
	}
}

func TestGoodProfileIsReadAsWritten(t *testing.T) {
	profile := mustParse(t, "p", []byte(`{
  "defaultAction": "SCMP_ACT_KILL_PROCESS",
  "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
  "syscalls": [
    {"names": ["read", "socketcall"], "action": "SCMP_ACT_ALLOW", "comment": "why"},
    {"names": ["dup"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "args": null},
    {"names": ["dup2"], "action": "SCMP_ACT_ERRNO", "args": [
      {"index": 1, "value": 18446744073709551615, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}]},
    {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_BPF"]}},
    {"names": ["close"], "action": "SCMP_ACT_LOG", "excludes": {"caps": ["CAP_BPF"]}},
    {"names": ["ptrace"], "action": "SCMP_ACT_TRAP", "includes": {"minKernel": "4.8", "arches": ["amd64", "arm64"]}},
    {"names": ["kcmp"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["s390x"]}},
    {"names": ["kcmp"], "action": "SCMP_ACT_ALLOW", "excludes": {"minKernel": "4.8"}}
  ]
}`))
	want := &Profile{Name: "p", Default: KillProcess, Rules: []Rule{
		{Line: 5, Comment: "why", Syscalls: []Syscall{{"read", unix.SYS_READ}}, Action: Allow},
		{Line: 6, Syscalls: []Syscall{{"dup", unix.SYS_DUP}}, Action: Errno(syscall.ENOSYS)},
		{Line: 7, Syscalls: []Syscall{{"dup2", unix.SYS_DUP2}}, Action: Errno(syscall.EPERM), Conditions: []Condition{{1, MaskedEqual, 1<<64 - 1, 2}}},
		{Line: 10, Syscalls: []Syscall{{"close", unix.SYS_CLOSE}}, Action: Log},
		{Line: 11, Syscalls: []Syscall{{"ptrace", unix.SYS_PTRACE}}, Action: Trap},
	}}
	if diff := cmp.Diff(want, profile); diff != "" {
		t.Errorf("profile differs (-want +got):\n%s", diff)
	}
}

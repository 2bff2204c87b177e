package seccomp

import (
	"testing"
)

// badRules are well-formed and make no sense together, or can be dodged.
var badRules = map[string]struct {
	profile string
	want    []string
}{
	"name twice in a rule": {wrap(`{"names": ["dup", "dup"], "action": "SCMP_ACT_ALLOW"}`), []string{"p:1: dup: named twice in one rule"}},
	"same rule twice": {wrap("{\"names\": [\"dup\"], \"action\": \"SCMP_ACT_ALLOW\"},\n{\"names\": [\"read\", \"dup\"], \"action\": \"SCMP_ACT_ALLOW\"}"),
		[]string{"p:1: dup: dangling", "p:2: dup: duplicate: the rule at line 1 says the same"}},
	"same conditions in other order": {wrap(`{"names": ["dup2"], "action": "SCMP_ACT_ALLOW", "args": [` + argIs("0", "1") + `, ` + argIs("1", "2") + `]},
		{"names": ["dup2"], "action": "SCMP_ACT_ALLOW", "args": [` + argIs("1", "2") + `, ` + argIs("0", "1") + `]}`),
		[]string{"p:2: dup2: duplicate"}},
	"allowed and refused": {wrap("{\"names\": [\"dup\"], \"action\": \"SCMP_ACT_ALLOW\"},\n{\"names\": [\"dup\"], \"action\": \"SCMP_ACT_KILL\"}"),
		[]string{"p:2: dup: contradictory: the rule at line 1 says allow for the same calls, this one kill thread", "p:2: dup: dangling: the rule at line 1 allows"}},
	"refused in two ways": {wrap(`{"names": ["dup"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "args": [` + argIs("0", "1") + `]},
		{"names": ["dup"], "action": "SCMP_ACT_ERRNO", "errnoRet": 2, "args": [` + argIs("0", "1") + `]}`),
		[]string{"p:1: dup: dangling: such calls end with errno EPERM anyway", "p:2: dup: contradictory"}},
	"allowed already": {wrap("{\"names\": [\"dup\"], \"action\": \"SCMP_ACT_ALLOW\"},\n{\"names\": [\"dup\"], \"action\": \"SCMP_ACT_ALLOW\", \"args\": [" + argIs("0", "1") + "]}"),
		[]string{"p:2: dup: dangling: every call is allowed already"}},
	"allowed by default":    {`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["dup"], "action": "SCMP_ACT_ALLOW"}]}`, []string{"dup: dangling: the default allows"}},
	"refused by default":    {wrap(`{"names": ["dup"], "action": "SCMP_ACT_ERRNO", "args": [` + argIs("0", "1") + `]}`), []string{"dup: dangling: such calls end with errno EPERM anyway"}},
	"64-bit refusal":        {`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "args": [` + argIs("1", "21522") + `]}]}`, []string{"ioctl: argument 1 is compared in 64 bits"}},
	"64-bit inequality":     {wrap(`{"names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 1, "value": 21522, "op": "SCMP_CMP_NE"}]}`), []string{"ioctl: argument 1 is compared in 64 bits"}},
	"older Docker's vsock":  {wrap(`{"names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_GT"}]}`), []string{"socket: argument 0 is compared in 64 bits"}},
	"mask with upper bits":  {`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["prctl"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 8589934591, "valueTwo": 35, "op": "SCMP_CMP_MASKED_EQ"}]}]}`, []string{"prctl: argument 0 is compared in 64 bits"}},
	"64-bit range refusal":  {`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["socket"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 41, "op": "SCMP_CMP_LT"}]}]}`, []string{"socket: argument 0 is compared in 64 bits"}},
	"clone flag in 64 bits": {`{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["clone"], "action": "SCMP_ACT_ERRNO", "args": [` + argIs("0", "268435456") + `]}]}`, []string{"clone: argument 0 is compared in 64 bits"}},
}

func argIs(index, value string) string {
	return `{"index": ` + index + `, "value": ` + value + `, "op": "SCMP_CMP_EQ"}`
}

func TestRulesThatMakeNoSenseTogetherAreReported(t *testing.T) {
	for name, bad := range badRules {
		t.Run(name, func(t *testing.T) { expectProblems(t, bad.profile, bad.want) })
	}
}

// The controls: the same shapes where they do mean something.
func TestRulesThatMakeSenseTogetherAreTaken(t *testing.T) {
	for name, profile := range map[string]string{
		"refusal inside an allowance":          wrap(`{"names": ["dup"], "action": "SCMP_ACT_ALLOW"}, {"names": ["dup"], "action": "SCMP_ACT_ERRNO", "args": [` + argIs("0", "1") + `]}`),
		"fallback errno":                       wrap(`{"names": ["dup"], "action": "SCMP_ACT_ALLOW", "args": [` + argIs("0", "1") + `]}, {"names": ["dup"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}`),
		"allowance under an allowing default":  `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["dup"], "action": "SCMP_ACT_KILL"}, {"names": ["dup"], "action": "SCMP_ACT_ALLOW", "args": [` + argIs("0", "1") + `]}]}`,
		"masked refusal":                       `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["ioctl"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 4294967295, "valueTwo": 21522, "op": "SCMP_CMP_MASKED_EQ"}]}]}`,
		"64-bit allowance of one value":        wrap(`{"names": ["ioctl"], "action": "SCMP_ACT_ALLOW", "args": [` + argIs("1", "21523") + `]}`),
		"the default repeated, with a comment": wrap(`{"names": ["dup"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "comment": "decided"}`),
	} {
		t.Run(name, func(t *testing.T) {
			parsed := mustParse(t, "p", []byte(profile))
			machine := newMachine(t, mustCompile(t, parsed))
			for _, rule := range parsed.Rules {
				for _, call := range rule.Syscalls {
					for _, args := range bothSides(rule) {
						if got, want := machine.run(call.Number, args), decide(parsed, call.Number, args); got != want {
							t.Errorf("%s(%#x): %s, want %s", call.Name, args, got, want)
						}
					}
				}
			}
		})
	}
}

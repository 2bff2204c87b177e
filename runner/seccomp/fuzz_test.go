package seccomp

import (
	"errors"
	"os"
	"testing"

	"github.com/creel-sandbox/creel/profiles"
)

// FuzzParse: whatever the bytes, either every problem is reported or the
// profile compiles into a program that means what the rules say.
func FuzzParse(f *testing.F) {
	docker, err := os.ReadFile("testdata/docker-default.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(docker)
	f.Add(profiles.Floor())
	for _, bad := range badProfiles {
		if len(bad.profile) < 4096 {
			f.Add([]byte(bad.profile))
		}
	}
	for _, bad := range badRules {
		f.Add([]byte(bad.profile))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		profile, err := Parse("fuzz", data)
		if err != nil {
			var found *ProblemsError
			if !errors.As(err, &found) || len(found.Problems) == 0 || profile != nil {
				t.Fatalf("Parse = %v, %v", profile, err)
			}
			return
		}
		program, err := Compile(profile)
		if err != nil {
			return // refused by libseccomp or the kernel's limit, which is the end of it
		}
		machine := newMachine(t, program)
		for _, rule := range profile.Rules {
			for _, args := range bothSides(rule) {
				for _, call := range rule.Syscalls[:min(3, len(rule.Syscalls))] {
					got, want := machine.run(call.Number, args), decide(profile, call.Number, args)
					// Two refusals that overlap without being equal: either.
					if got != want && (got.Allows() || want.Allows()) {
						t.Fatalf("line %d: %s(%#x): %s, want %s", rule.Line, call.Name, args, got, want)
					}
				}
			}
		}
	})
}

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const goodPolicy = `apiVersion: creel/v1
kind: Policy
name: good
justification: The tests of creel read it.
owner: ops@example.org
reviewBy: 2099-01-01
root: {host: true}
user: "1000:1000"
workdir: /workspace
mounts:
  - {kind: workspace, source: /srv/creel/workspace, target: /workspace, mode: rw}
callers: {users: [openclaw]}
`

// policies writes a directory with one good and one bad policy.
func policies(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"good.yaml": goodPolicy,
		"bad.yaml":  strings.Replace(goodPolicy, "kind: Policy", "kind: Policy\nprivileged: true", 1),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestPolicyCheckNeedsNoSupervisorAndNamesTheLine(t *testing.T) {
	dir := policies(t)
	good, bad := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "bad.yaml")
	got := check(t, "policy", "check", good)
	got.want(t, 0)
	if !strings.HasSuffix(got.stdout, good+": ok\n") {
		t.Errorf("check of a good one: %q", got.stdout)
	}
	got = check(t, "policy", "check", bad, good)
	got.want(t, 1)
	if !strings.Contains(got.stdout, bad+":3:") || !strings.Contains(got.stdout, "privileged") || !strings.Contains(got.stdout, good+": ok\n") {
		t.Errorf("check of a bad and a good one: %q", got.stdout)
	}
	check(t, "policy", "check").want(t, 125, "at least one file")
	check(t, "policy", "check", "/nonexistent.yaml").want(t, 125, "/nonexistent.yaml")
	check(t, "policy", "check", dir).want(t, 125, "is a directory")
}

func TestPolicyCheckKnowsTheSupervisorsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "creel.yaml")
	for text, code := range map[string]int{"strict: true\n": 0, "strict: perhaps\n": 1} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := check(t, "policy", "check", file); got.code != code {
			t.Errorf("%q: %+v, want code %d", text, got, code)
		}
	}
}

func TestPolicyCheckJudgesAsStrictlyAsTheSupervisorWould(t *testing.T) {
	overdue := filepath.Join(t.TempDir(), "overdue.yaml")
	if err := os.WriteFile(overdue, []byte(strings.Replace(goodPolicy, "2099", "2001", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	lenient := check(t, "policy", "check", overdue)
	lenient.want(t, 0)
	if !strings.Contains(lenient.stdout, "warning") || !strings.HasSuffix(lenient.stdout, ": ok\n") {
		t.Errorf("without --strict: %q", lenient.stdout)
	}
	strict := check(t, "policy", "check", "--strict", overdue)
	strict.want(t, 1)
	if !strings.Contains(strict.stdout, "overdue") || strings.Contains(strict.stdout, ": ok\n") {
		t.Errorf("with --strict: %q", strict.stdout)
	}
	check(t, "policy", "check", "--strict", filepath.Join(policies(t), "good.yaml")).want(t, 0)
}

func TestPolicyShowAndExplainTakeNamesAndFiles(t *testing.T) {
	dir := policies(t)
	file := filepath.Join(dir, "good.yaml")
	shown := check(t, "policy", "show", "--policy-dir", dir, "good")
	shown.want(t, 0)
	if !strings.Contains(shown.stdout, "name: good\n") || !strings.Contains(shown.stdout, "limits:") {
		t.Errorf("show %q", shown.stdout)
	}
	if again := check(t, "policy", "show", file); again.stdout != shown.stdout {
		t.Errorf("by file: %+v", again)
	}
	explained := check(t, "policy", "explain", file)
	explained.want(t, 0)
	if !strings.Contains(explained.stdout, file+":8\n") || !strings.Contains(explained.stdout, "default\n") {
		t.Errorf("explain %q", explained.stdout)
	}
	check(t, "policy", "show", "--policy-dir", dir, "nope").want(t, 125, `no policy "nope"`, filepath.Join(dir, "nope.yaml"), "--policy-dir")
	check(t, "policy", "explain", "--policy-dir", dir, "bad").want(t, 125, "has errors", "bad.yaml:3:", "creel policy check")
	check(t, "policy", "show").want(t, 125, "one name or file")
	check(t, "policy", "nope").want(t, 125, `no command "nope"`)
}

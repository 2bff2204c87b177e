// Package enginetest is what every engine must pass, with every kind of root:
// it attacks real sandboxes, made by the real binaries, and holds them to the
// promises of the README. Every attack has a control: the same probe succeeds,
// or fares otherwise, where nothing refuses it.
//
// It imports testrig and what the tests need of the standard library and
// golang.org/x/sys. It never leaves anything behind, and never touches what
// it did not make.
package enginetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// canary is a text that no sandbox may find.
const canary = "creel-attack-7d21f3"

// site is a supervisor with something to attack.
type site struct {
	*testrig.Rig
	t *testing.T
	// outside is a directory of the host that no policy names, readable by
	// everyone; data belongs to the sandbox's user and is mounted at /data,
	// read-only. Both hold the probe, as does the workspace.
	outside, data string
}

// policies of every site: the default one, and one whose own seccomp profile
// allows everything, so that it shows what the rest of a sandbox refuses.
const (
	filtered   = "exec-default"
	unfiltered = "unfiltered"
)

// start starts a supervisor with these policies besides, each written as what
// it has more than the default one.
func start(t *testing.T, target testrig.Target, policies map[string]string) *site {
	t.Helper()
	r := testrig.Start(t, testrig.Options{Target: target, Env: []string{"CREEL_ATTACK=" + canary}})
	s := &site{Rig: r, t: t, outside: r.Dir + "/outside", data: r.Dir + "/data"}
	for _, dir := range []string{s.outside, s.data} {
		s.check(os.Mkdir(dir, 0o755))
	}
	s.own(s.data)
	for _, dir := range []string{s.outside, s.data, s.Workspace} {
		s.copyFile(probe(t), dir+"/probe", 0o755)
	}
	allowAll := r.Dir + "/allow.json"
	s.write(allowAll, `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}`)
	s.declare(filtered, "")
	s.declare(unfiltered, "seccomp: "+allowAll)
	for name, more := range policies {
		s.declare(name, more)
	}
	s.Reload()
	if strings.Contains(r.Log(), "error") {
		t.Fatalf("policies are not in force:\n%s", r.Log())
	}
	if target.Warm {
		s.Stocked(filtered, unfiltered)
	}
	return s
}

// declare writes a policy with the workspace and the data directory.
func (s *site) declare(name, more string) {
	mounts := fmt.Sprintf("mounts:\n- {kind: workspace, source: %s, target: /workspace, mode: rw}\n"+
		"- {kind: data, source: %s, target: /data, mode: ro}\n", s.Workspace, s.data)
	if strings.Contains("\n"+more, "\nmounts:") {
		mounts = ""
	}
	s.WritePolicy(name, s.PolicyText(name, mounts+more))
}

// onEachTarget runs a test with a supervisor for each engine and root.
func onEachTarget(t *testing.T, policies map[string]string, test func(t *testing.T, s *site)) {
	on(t, testrig.Targets, policies, test)
}

// on runs a test with a supervisor for each of some targets.
func on(t *testing.T, targets []testrig.Target, policies map[string]string, test func(t *testing.T, s *site)) {
	for _, target := range targets {
		t.Run(target.String(), func(t *testing.T) { test(t, start(t, target, policies)) })
	}
}

// those gives the targets that a test is about.
func those(about func(testrig.Target) bool) []testrig.Target {
	return slices.DeleteFunc(slices.Clone(testrig.Targets), func(t testrig.Target) bool { return !about(t) })
}

// ofHost are the targets whose root is the host's.
var ofHost = those(func(t testrig.Target) bool { return t.Root == "host" })

func (s *site) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) write(path, text string) {
	s.t.Helper()
	s.check(os.WriteFile(path, []byte(text), 0o644))
}
func (s *site) own(path string) { s.t.Helper(); s.check(os.Chown(path, testrig.User, testrig.User)) }

// copyFile sets the mode last: a write would clear its upper bits.
func (s *site) copyFile(from, to string, mode uint32) {
	s.t.Helper()
	data, err := os.ReadFile(from)
	s.check(err)
	s.check(os.WriteFile(to, data, 0o600))
	s.check(syscall.Chmod(to, mode))
}

var buildProbe = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "creel-probe-")
	if err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-o", dir+"/probe", "./testdata/probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build probe: %w\n%s", err, out)
	}
	return dir + "/probe", nil
})

func TestMain(m *testing.M) {
	code := testrig.Main(m)
	if path, err := buildProbe(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// probe builds the program in testdata/probe.
func probe(t *testing.T) string {
	t.Helper()
	path, err := buildProbe()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// inSupervisor runs a command in the supervisor's own mount namespace, which
// ends with it.
func (s *site) inSupervisor(t *testing.T, argv ...string) {
	t.Helper()
	cmd := exec.Command("nsenter", append([]string{"-m", "-t", fmt.Sprint(s.Pid()), "--"}, argv...)...)
	if r := s.Run(cmd); r.Code != 0 {
		t.Fatalf("%v: exit %d, %s", argv, r.Code, r.Stderr)
	}
}

// outcomes are what a probe printed: attempt to "ok", errno or value.
type outcomes map[string]string

func parse(t *testing.T, text string) outcomes {
	t.Helper()
	got := outcomes{}
	for line := range strings.Lines(text) {
		name, quoted, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if name == "" {
			continue // a terminal's echo
		}
		value, err := strconv.Unquote(quoted)
		if err != nil {
			t.Fatalf("line %q of a probe: %v", line, err)
		}
		got[name] = value
	}
	return got
}

// inside runs the probe in a sandbox of a policy.
func (s *site) inside(policy string, args ...string) outcomes {
	s.t.Helper()
	r := s.Creel(append([]string{"exec", "--policy", policy, "--", "/data/probe"}, args...)...)
	if r.Code != 0 {
		s.t.Fatalf("probe %v in a sandbox of %s: exit %d\n%s%s\n%s", args, policy, r.Code, r.Stdout, r.Stderr, s.Log())
	}
	return parse(s.t, r.Stdout)
}

// control runs the probe outside of any sandbox, as a user.
func (s *site) control(uid uint32, args ...string) outcomes {
	s.t.Helper()
	cmd := exec.Command(s.outside+"/probe", args...)
	cmd.Dir = s.Workspace
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	r := s.Run(cmd)
	if r.Code != 0 {
		s.t.Fatalf("probe %v as uid %d: exit %d\n%s%s", args, uid, r.Code, r.Stdout, r.Stderr)
	}
	return parse(s.t, r.Stdout)
}

// expect holds every outcome against what is wanted: an attempt that is not
// named is an error. Wanted is one or several of "EPERM|EACCES".
func (o outcomes) expect(t *testing.T, where string, want outcomes) {
	t.Helper()
	for _, name := range o.names() {
		wanted, ok := want[name]
		switch {
		case !ok:
			t.Errorf("%s: %s: %q, and nothing is expected of it", where, name, o[name])
		case !slices.Contains(strings.Split(wanted, "|"), o[name]):
			t.Errorf("%s: %s: %q, want %q", where, name, o[name], wanted)
		}
	}
	for _, name := range want.names() {
		if _, ok := o[name]; !ok {
			t.Errorf("%s: %s: was not attempted", where, name)
		}
	}
}

func (o outcomes) names() []string {
	var names []string
	for name := range o {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// all wants the same of every attempt, but for the exceptions.
func (o outcomes) all(wanted string, exceptions outcomes) outcomes {
	want := outcomes{}
	for name := range o {
		want[name] = wanted
	}
	for name, other := range exceptions {
		want[name] = other
	}
	return want
}

// differs is the control of refusals: it reports attempts whose outcome
// without a sandbox is the same refusal, but for those that may be, because
// the kernel may lack what they try.
func (o outcomes) differs(t *testing.T, sandboxed outcomes, maybe ...string) {
	t.Helper()
	for _, name := range sandboxed.names() {
		if o[name] == sandboxed[name] && !slices.Contains(maybe, name) {
			t.Errorf("control: %s: %q outside of a sandbox too, so its refusal proves nothing", name, o[name])
		}
	}
}

package openclaw

import (
	_ "embed"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// driver asks the plugin as OpenClaw does.
//
//go:embed plugin_test.mjs
var driver []byte

// command is one as OpenClaw tells the plugin of it, and program what is to be
// started for it.
type (
	command struct {
		Workdir string            `json:"workdir,omitempty"`
		Env     map[string]string `json:"env,omitempty"`
		Call    string            `json:"call,omitempty"`
	}
	program struct {
		Refused string
		Argv    []string
		Env     map[string]string
	}
)

// programs are what the plugin itself answers, with nothing of OpenClaw but what
// the plugin imports: OpenClaw refuses some of these commands before it asks.
func programs(t *testing.T, env []string, commands []command) (answers []program) {
	t.Helper()
	install, dir := Install(t), t.TempDir()
	check(t, os.CopyFS(filepath.Join(dir, "plugin"), os.DirFS(filepath.Join(Here(), "plugin"))))
	check(t, os.Symlink(filepath.Join(install, "node_modules"), filepath.Join(dir, "node_modules")))
	check(t, os.WriteFile(filepath.Join(dir, "driver.mjs"), driver, 0o600))
	question, err := json.Marshal(commands)
	check(t, err)
	cmd := exec.Command(Node(install), filepath.Join(dir, "driver.mjs"), string(question))
	cmd.Env = append([]string{"HOME=" + dir, "OPENCLAW_STATE_DIR=" + dir + "/state"}, env...)
	out, err := cmd.Output()
	check(t, err)
	check(t, json.Unmarshal(out, &answers))
	if len(answers) != len(commands) {
		t.Fatalf("of %d commands the plugin answered %s", len(commands), out)
	}
	return answers
}

// TestPluginRefusesAWorkingDirectoryOutsideTheWorkspace asks for what OpenClaw,
// which looks first, would let no plugin see.
func TestPluginRefusesAWorkingDirectoryOutsideTheWorkspace(t *testing.T) {
	places := map[string]string{ // "": refused
		"": "/workspace", ".": "/workspace", "/workspace": "/workspace", "/workspace/": "/workspace", "sub": "/workspace/sub",
		"/workspace/sub": "/workspace/sub", "/workspace/sub/../sub//": "/workspace/sub", "..sub": "/workspace/..sub",
		"/": "", "//": "", "/tmp": "", "..": "", "../..": "", "../tmp": "", "sub/../..": "", "/workspace/..": "", "/workspace/../tmp": "",
		"/workspace-2": "", "../workspace-2": "", "/workspac": "", "/proc/self/cwd": "", "/proc/1/root/workspace": "", "/Workspace": "",
	}
	var commands []command
	for dir := range places {
		commands = append(commands, command{Workdir: dir})
	}
	for i, answer := range programs(t, nil, commands) {
		dir := commands[i].Workdir
		switch want := places[dir]; {
		case want == "" && (answer.Argv != nil || !strings.Contains(answer.Refused, "must be in /workspace")):
			t.Errorf("with %q the plugin answers %+v", dir, answer)
		case want != "" && !slices.Contains(answer.Argv, "--cwd="+want):
			t.Errorf("control: with %q the plugin answers %+v", dir, answer)
		}
	}
}

// TestPluginPassesOnWhatTheCallSetsAlone gives the plugin an environment of a
// gateway, which OpenClaw hands it with what the call sets.
func TestPluginPassesOnWhatTheCallSetsAlone(t *testing.T) {
	gateway := []string{"PATH=/gateway", "NODE_OPTIONS=--no-warnings", "BASH_ENV=/dev/null", "PYTHONPATH=/gateway", "GATEWAY_TOKEN=token"}
	answer := programs(t, gateway, []command{{Env: map[string]string{"GREETING": "hello, all"}}})[0]
	want := []string{"/usr/bin/creel", "exec", "--die-with-parent", "--policy=exec-default", "--cwd=/workspace", "--session=driven", "--call=call",
		"--env=GREETING=hello, all", "--", "sh", "-c", "true"}
	if !slices.Equal(answer.Argv, want) || answer.Env == nil || len(answer.Env) > 0 {
		t.Errorf("the plugin answers %+v, want %q and no variable", answer, want)
	}
}

// TestPluginNamesEachCallAsCreelTakesIt whatever a model's provider calls it, and
// no two the same.
func TestPluginNamesEachCallAsCreelTakesIt(t *testing.T) {
	most := strings.Repeat("é", 127) + "e"
	var commands []command
	for _, call := range []string{"call_1|fc_2", "Aufruf für 東京 ✓", most, most + "e", most + "f", "call\n1", "call\x001", "call\u20281", "call\u00a01"} {
		commands = append(commands, command{Call: call})
	}
	taken := func(name string) bool {
		return len(name) <= 255 && strings.IndexFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
	}
	names := map[string]bool{}
	for i, answer := range programs(t, nil, commands) {
		call := commands[i].Call
		at := slices.IndexFunc(answer.Argv, func(arg string) bool { return strings.HasPrefix(arg, "--call=") })
		if at < 0 {
			t.Fatalf("%q: %+v", call, answer)
		}
		name := strings.TrimPrefix(answer.Argv[at], "--call=")
		if taken(call) != (name == call) || !taken(name) || names[name] {
			t.Errorf("%q is called %q", call, name)
		}
		names[name] = true
	}
}

// TestWorkingDirectoryOutsideTheWorkspaceRunsNothing also has links below the
// workspace, which OpenClaw follows to see where they lead.
func TestWorkingDirectoryOutsideTheWorkspaceRunsNothing(t *testing.T) {
	s := start(t)
	s.mkdir(t, "sub")
	for name, target := range map[string]string{"out": "/tmp", "up": "..", "root": "/proc/1/root"} {
		link := filepath.Join(s.Workspace, name)
		check(t, os.Symlink(target, link))
		t.Cleanup(func() { check(t, os.Remove(link)) })
	}
	for dir, at := range map[string]string{
		"/workspace/": "/workspace", ".": "/workspace", "sub": "/workspace/sub", "/workspace/sub": "/workspace/sub",
		"/": "", "/tmp": "", "/workspace/..": "", "/workspace-2": "", "..": "", "../..": "", "sub/../..": "", "/proc/self/cwd": "",
		"out": "", "/workspace/up": "", "root/tmp": "", s.Dir: "", "/state": "",
	} {
		call, result := s.do(t, "exec", map[string]any{"command": "echo ran in $(pwd -P).", "workdir": dir})
		if at != "" {
			s.fresh(t, call, nobody)
		}
		if found := s.of(call); at == "" && (len(found) > 0 || strings.Contains(result, "ran in")) || at != "" && !strings.Contains(result, "ran in "+at+".") {
			t.Errorf("with %s: the model was told %q; ps says %+v", dir, result, found)
		}
	}
}

// TestWorkingDirectoryThatBecomesALinkStaysInTheSandbox is what is left where a
// command puts a link in the place of a directory that OpenClaw has looked at.
func TestWorkingDirectoryThatBecomesALinkStaysInTheSandbox(t *testing.T) {
	s := start(t)
	link := filepath.Join(s.Workspace, "later")
	check(t, os.Symlink("/tmp", link))
	t.Cleanup(func() { check(t, os.Remove(link)) })
	outside, err := os.ReadDir("/tmp")
	check(t, err)
	got := s.Creel("exec", "--cwd=/workspace/later", "--", "sh", "-c", "pwd -P; ls -A")
	if got.Code != 0 || got.Stdout != "/tmp\n" || len(outside) == 0 {
		t.Errorf("a command that starts there says %+v", got)
	}
}

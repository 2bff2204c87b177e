package openclaw

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// The environment that a command starts with, and how it prints that.
var (
	environment = []string{"DEPLOY_TOKEN=[redacted:DEPLOY_TOKEN]", "GREETING=hello, all", "HOME=/tmp", "LOGNAME=sandbox", "PATH=/usr/local/bin:/usr/bin:/bin", "USER=sandbox"}
	printed     = map[string]any{"command": `tr '\0' '\n' </proc/$$/environ | sort`, "env": map[string]any{"GREETING": "hello, all"}}
)

// environs wants that a command gets what its policy and its call say, and
// nothing else.
func (s *stage) environs(t *testing.T) {
	t.Helper()
	call, result := s.do(t, "exec", printed)
	s.fresh(t, call, nobody)
	if got := strings.Split(strings.TrimSpace(result), "\n"); !slices.Equal(got, environment) {
		t.Errorf("the command's environment is %q, want %q", got, environment)
	}
}

// TestVariablesThatRunOtherCodeAreRefused also shows that what a call sets
// otherwise reaches its command, and nothing of the agent's own.
func TestVariablesThatRunOtherCodeAreRefused(t *testing.T) {
	s := start(t)
	s.environs(t)
	for _, name := range []string{"LD_PRELOAD", "NODE_OPTIONS", "BASH_ENV", "ENV", "PYTHONSTARTUP", "PERL5OPT", "GIT_SSH_COMMAND"} {
		call, result := s.do(t, "exec", map[string]any{"command": "echo ran", "env": map[string]any{name: "/workspace/x"}})
		if strings.Contains(result, "ran") || len(s.of(call)) > 0 {
			t.Errorf("with %s: the model was told %q, and ps says %+v", name, result, s.of(call))
		}
	}
}

// TestEnvironmentOfTheGatewayReachesNoCommand gives OpenClaw, as a process of the
// host, variables that have programs run other code.
func TestEnvironmentOfTheGatewayReachesNoCommand(t *testing.T) {
	s := start(t)
	own := []string{"PATH=/usr/local/games:/usr/bin:/bin", "LD_PRELOAD=libc.so.6", "LD_LIBRARY_PATH=/nowhere", "NODE_OPTIONS=--max-old-space-size=2048",
		"BASH_ENV=/dev/null", "ENV=/dev/null", "PYTHONPATH=/nowhere", "PERL5LIB=/nowhere", "GIT_SSH_COMMAND=false", "GATEWAY_OWN=own"}
	creel := map[string]any{"program": s.Dir + "/bin/creel", "socket": s.Dir + "/run/exec.sock", "filePolicy": "exec-files"}
	s.WritePolicy("exec-files", s.PolicyText("exec-files", ""))
	s.Reload()
	t.Cleanup(func() { check(t, os.Remove(s.Policies+"/exec-files.yaml")); s.Reload() })
	host := s.onTheHost(t, "environ", creel, Options{Env: slices.Clone(own)})
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", host.claw.gateway.(*process).command.Process.Pid))
	check(t, err)
	for _, variable := range own {
		if !bytes.Contains(append([]byte{0}, data...), []byte("\x00"+variable+"\x00")) {
			t.Errorf("control: OpenClaw itself has no %s", variable)
		}
	}
	host.environs(t)
	// And file tools run as another policy, where the plugin's setting says so.
	s.write(t, "plain", "it is readable")
	call, result := host.do(t, "read", map[string]any{"path": "plain"})
	if !strings.Contains(result, "it is readable") {
		t.Errorf("of a file the model was told %q", result)
	}
	host.fresh(t, call, origin{policy: "exec-files"})
}

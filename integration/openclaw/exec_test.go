package openclaw

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// TestEachExecIsASandboxOfItsOwn shows that two calls of one session share
// nothing but the workspace, and that ps knows each by its call.
func TestEachExecIsASandboxOfItsOwn(t *testing.T) {
	s := start(t)
	first, result := s.doIn(t, "twice", "exec", sh("id -u; cat /proc/1/comm; echo kept >/workspace/kept; echo lost >/tmp/lost; pwd"))
	for _, want := range []string{fmt.Sprint(testrig.User), "\ninit\n", "/workspace"} {
		if !strings.Contains(result, want) {
			t.Errorf("the command printed %q, without %q", result, want)
		}
	}
	second, result := s.doIn(t, "twice", "exec", sh("cat /workspace/kept; ls /tmp/lost; echo $?"))
	if !strings.Contains(result, "kept") || !strings.Contains(result, "No such file") {
		t.Errorf("the second command found %q", result)
	}
	a, b := s.fresh(t, first, nobody)[0], s.fresh(t, second, nobody)[0]
	if a.Session != b.Session || !strings.Contains(a.Session, "twice") {
		t.Errorf("ps says %+v and %+v", a, b)
	}
}

func TestExecEndsAsTheSkillExpects(t *testing.T) {
	s := start(t)
	for name, c := range map[string]struct {
		args   map[string]any
		says   string
		reason string
		code   int
	}{
		"success":    {sh("echo fine"), "fine", "exited", 0},
		"failure":    {sh("echo partly; exit 7"), "code 7", "exited", 7},
		"time limit": {map[string]any{"command": "echo begun; sleep 1000", "timeoutSeconds": 1}, "timed out", "signaled", 143},
		"subfolder":  {map[string]any{"command": "pwd", "workdir": "sub"}, "/workspace/sub", "exited", 0},
	} {
		t.Run(name, func(t *testing.T) {
			s.mkdir(t, "sub")
			call, result := s.do(t, "exec", c.args)
			if !strings.Contains(result, c.says) {
				t.Errorf("the model was told %q, without %q", result, c.says)
			}
			s.Eventually("the sandbox has ended", func() bool { return s.ended(call) })
			if got := s.fresh(t, call, nobody)[0].Result; got.Reason != c.reason || got.ExitCode != c.code {
				t.Errorf("ps says %+v, want %s with %d", got, c.reason, c.code)
			}
		})
	}
}

var sessionName = regexp.MustCompile(`session ([a-z]+-[a-z0-9-]+)`)

// background starts a command that goes on after its call, and gives the name
// that OpenClaw has for it.
func (s *stage) background(t *testing.T, session, command string) (Call, string) {
	t.Helper()
	call, result := s.doIn(t, session, "exec", map[string]any{"command": command, "background": true})
	name := sessionName.FindStringSubmatch(result)
	if name == nil {
		t.Fatalf("of a command in the background the model was told %q", result)
	}
	return call, name[1]
}

func TestBackgroundCommandIsPolledAndEnds(t *testing.T) {
	s := start(t)
	call, name := s.background(t, "polled", "echo begun; while [ ! -e go ]; do sleep 0.1; done; echo over; exit 3")
	s.Eventually("it has begun", func() bool {
		_, result := s.doIn(t, "polled", "process", map[string]any{"action": "log", "sessionId": name})
		return strings.Contains(result, "begun")
	})
	if got := s.fresh(t, call, nobody)[0]; got.State != "running" {
		t.Errorf("ps says %+v", got)
	}
	s.write(t, "go", "")
	t.Cleanup(func() { check(t, os.Remove(filepath.Join(s.Workspace, "go"))) }) // or another such command would not wait
	s.Eventually("it is over", func() bool {
		_, result := s.doIn(t, "polled", "process", map[string]any{"action": "poll", "sessionId": name})
		return strings.Contains(result, "over") && strings.Contains(result, "3")
	})
	s.Eventually("its sandbox has ended", func() bool { return s.ended(call) })
	if got := s.fresh(t, call, nobody)[0].Result; got.Reason != "exited" || got.ExitCode != 3 {
		t.Errorf("ps says %+v", got)
	}
}

func TestKilledCommandLeavesNoSandbox(t *testing.T) {
	s := start(t)
	call, name := s.background(t, "killed", "trap '' TERM; echo begun; while :; do sleep 1; done")
	s.Eventually("it runs", func() bool { return s.runs(call) })
	s.doIn(t, "killed", "process", map[string]any{"action": "kill", "sessionId": name})
	s.Eventually("its sandbox has ended", func() bool { return s.ended(call) })
	s.fresh(t, call, nobody)
}

// TestClientThatLeavesEndsItsCommand ends the HTTP request amid a command.
func TestClientThatLeavesEndsItsCommand(t *testing.T) {
	s := start(t)
	call := NewCall("exec", sh("echo begun; sleep 1000"))
	ctx, leave := context.WithCancel(t.Context())
	request := s.claw.Request("leaves", call.Message(), nil).WithContext(ctx)
	done := make(chan error)
	go func() {
		response, err := client.Do(request)
		if err == nil {
			response.Body.Close()
		}
		done <- err
	}()
	s.Eventually("it runs", func() bool { return s.runs(call) })
	leave()
	<-done
	s.Eventually("its sandbox has ended", func() bool { return s.ended(call) })
	s.fresh(t, call, nobody)
}

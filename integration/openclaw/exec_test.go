package openclaw

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
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
	a, b := s.of(first), s.of(second)
	if len(a) != 1 || len(b) != 1 || a[0].ID == b[0].ID {
		t.Fatalf("the sandboxes of two calls: %+v and %+v", a, b)
	}
	if a[0].Policy != "exec-default" || a[0].Session != b[0].Session || !strings.Contains(a[0].Session, "twice") {
		t.Errorf("ps says %+v and %+v", a[0], b[0])
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
			got := s.of(call)
			if len(got) != 1 || got[0].Result.Reason != c.reason || got[0].Result.ExitCode != c.code {
				t.Errorf("ps says %+v, want %s with %d", got, c.reason, c.code)
			}
		})
	}
}

func TestWorkingDirectoryOutsideTheWorkspaceRunsNothing(t *testing.T) {
	s := start(t)
	for _, dir := range []string{"/", "/tmp", "/workspace/..", "/workspace-2", "../..", "/proc/self/cwd"} {
		call, result := s.do(t, "exec", map[string]any{"command": "echo ran in $PWD", "workdir": dir})
		if strings.Contains(result, "ran in") && !strings.Contains(result, "ran in /workspace\n") {
			t.Errorf("with %s: the model was told %q; ps says %+v", dir, result, s.of(call))
		}
	}
}

// leftOut is how much of a result OpenClaw kept from its model.
var leftOut = regexp.MustCompile(`\[\.\.\. ([0-9]+) (?:more )?char`)

// TestAllOfTheOutputArrives uses the most that OpenClaw takes of a command. It
// tells the model a part of that, and how much else there was.
func TestAllOfTheOutputArrives(t *testing.T) {
	s := start(t)
	const all = 200000
	_, result := s.do(t, "exec", sh("yes 0123456789abcdef | head -c %d", all))
	found := leftOut.FindStringSubmatch(result)
	if found == nil {
		t.Fatalf("the model was told %d characters, that end in %q", len(result), result[max(0, len(result)-200):])
	}
	if more, _ := strconv.Atoi(found[1]); len(result)+more < all {
		t.Errorf("OpenClaw had %d characters, and left out %d", len(result), more)
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
	if got := s.of(call); len(got) != 1 || got[0].State != "running" {
		t.Errorf("ps says %+v", got)
	}
	s.write(t, "go", "")
	s.Eventually("it is over", func() bool {
		_, result := s.doIn(t, "polled", "process", map[string]any{"action": "poll", "sessionId": name})
		return strings.Contains(result, "over") && strings.Contains(result, "3")
	})
	s.Eventually("its sandbox has ended", func() bool { return s.ended(call) })
	if got := s.of(call); got[0].Result.ExitCode != 3 {
		t.Errorf("ps says %+v", got)
	}
}

func TestKilledCommandLeavesNoSandbox(t *testing.T) {
	s := start(t)
	call, name := s.background(t, "killed", "trap '' TERM; echo begun; while :; do sleep 1; done")
	s.Eventually("it runs", func() bool { got := s.of(call); return len(got) == 1 && got[0].State == "running" })
	s.doIn(t, "killed", "process", map[string]any{"action": "kill", "sessionId": name})
	s.Eventually("its sandbox has ended", func() bool { return s.ended(call) })
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
	s.Eventually("it runs", func() bool { got := s.of(call); return len(got) == 1 && got[0].State == "running" })
	leave()
	<-done
	s.Eventually("its sandbox has ended", func() bool { return s.ended(call) })
}

package openclaw

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// TestModelCannotHaveACommandRunOutside has the model ask for each of the ways
// out of its sandbox that OpenClaw's exec tool knows.
func TestModelCannotHaveACommandRunOutside(t *testing.T) {
	s := start(t)
	for name, more := range map[string]map[string]any{
		"nothing, as a control": {},
		"the gateway's host":    {"host": "gateway"},
		"a node":                {"host": "node", "node": "any"},
		"elevated":              {"elevated": true},
		"no security":           {"security": "full", "ask": "off"},
		"a terminal":            {"pty": true},
	} {
		t.Run(name, func(t *testing.T) {
			escaped := filepath.Join(s.claw.Data, "tmp", "escaped") // where OpenClaw itself can write
			args := sh("echo ran; touch %s/tmp/escaped && echo out", s.claw.Seen)
			lay(args, more)
			call, result := s.do(t, "exec", args)
			if _, err := os.Stat(escaped); err == nil || strings.Contains(result, "\nout") {
				t.Fatalf("the command ran outside; the model was told %q", result)
			}
			if ran := strings.Contains(result, "ran"); ran != (len(s.of(call)) == 1) || len(more) == 0 && !ran {
				t.Errorf("the model was told %q, and ps says %+v", result, s.of(call))
			}
		})
	}
}

// TestChatCannotHaveACommandRunOutside has somebody set, as anybody can who talks
// to OpenClaw, where the commands of a conversation run: in a message before, which
// has them refused, and in the message itself, of which OpenClaw heeds no host.
// Each is somebody else, since OpenClaw keeps what a conversation was set to.
func TestChatCannotHaveACommandRunOutside(t *testing.T) {
	s := start(t)
	const outside = "/exec host=gateway security=full ask=off"
	for from, c := range map[int64]struct {
		name, before, message string
		runs                  bool // in a sandbox
	}{
		3001: {name: "nothing, as a control", runs: true},
		3002: {name: "a message before", before: outside},
		3003: {name: "the message", message: outside + " ", runs: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.before != "" {
				s.telegram.Say(from, from, c.before)
				s.slowly(t, "it is answered", func() bool { return strings.Contains(s.telegram.Said(from), "host=gateway") })
			}
			call := NewCall("exec", nil)
			call.Args = sh("echo ran; touch %s/tmp/%s", s.claw.Seen, call.ID)
			s.telegram.Say(from, from, c.message+call.Message())
			s.slowly(t, "the model is told what came of it", func() bool { _, ok := s.model.Result(call); return ok })
			told, _ := s.model.Result(call)
			if _, err := os.Stat(filepath.Join(s.claw.Data, "tmp", call.ID)); err == nil || strings.Contains(told, "ran") != c.runs {
				t.Errorf("the model was told %q, and of a trace outside: %v", told, err)
			}
			if !c.runs {
				if found := s.of(call); len(found) > 0 {
					t.Errorf("there were sandboxes: %+v", found)
				}
				return
			}
			s.fresh(t, call, by(from, from))
		})
	}
}

// TestFileToolsReachNothingButTheWorkspace tries to have OpenClaw read, with
// its own rights, what only it may.
func TestFileToolsReachNothingButTheWorkspace(t *testing.T) {
	s := start(t)
	s.write(t, "plain", "it is readable")
	if _, result := s.do(t, "read", map[string]any{"path": "plain"}); !strings.Contains(result, "it is readable") {
		t.Errorf("control: the model was told %q", result)
	}
	const mark = "only OpenClaw may read this"
	file, own := s.claw.Data+"/own", s.claw.Seen+"/own"
	check(t, os.WriteFile(file, []byte(mark), 0o600))
	check(t, os.Chown(file, testrig.User, testrig.User))
	links := map[string]string{"link": own, "environ": "/proc/self/environ", "parent": "/proc/1/root" + own, "folder": filepath.Dir(own)}
	for name, target := range links {
		check(t, os.Symlink(target, filepath.Join(s.Workspace, name)))
	}
	token := string(s.canaries["openclaw-gateway-token"])
	for _, path := range []string{"link", "environ", "parent", "folder/own", own, "../state/own", "/proc/self/environ", "file://" + own,
		"/workspace/../proc/self/environ", "~/own"} {
		_, result := s.do(t, "read", map[string]any{"path": path})
		if strings.Contains(result, mark) || strings.Contains(result, token) || strings.Contains(result, "OPENCLAW_") {
			t.Errorf("of %s the model was told %q", path, result)
		}
	}
	for _, path := range []string{"link", "folder/new", own, "../state/new", "~/new"} {
		s.do(t, "write", map[string]any{"path": path, "content": "overwritten"})
		data, err := os.ReadFile(file)
		if err != nil || string(data) != mark {
			t.Fatalf("after a write to %s the file holds %q: %v", path, data, err)
		}
		if _, err := os.Stat(filepath.Join(s.claw.Data, "new")); err == nil {
			t.Fatalf("a write to %s made a file outside", path)
		}
	}
	for _, path := range []string{"link", "folder/new", own} {
		_, listed := s.do(t, "ls", map[string]any{"path": filepath.Dir(path)})
		s.do(t, "apply_patch", patch("*** Add File: "+path, "+overwritten"))
		s.do(t, "apply_patch", patch("*** Update File: "+path, "@@", "-"+mark, "+overwritten"))
		data, err := os.ReadFile(file)
		if err != nil || string(data) != mark || strings.Contains(listed, `"own"`) {
			t.Fatalf("after patches of %s the file holds %q: %v; of its directory the model was told %q", path, data, err, listed)
		}
	}
	for name := range links {
		_ = os.Remove(filepath.Join(s.Workspace, name)) // a write may have replaced it
	}
}

// TestCommandReachesItsGateway has a command ask OpenClaw itself.
func TestCommandReachesItsGateway(t *testing.T) {
	s := start(t)
	policy := s.PolicyText("exec-default", credential+fmt.Sprintf("network: {gateway: '127.0.0.1:%d'}\n", s.claw.Port))
	s.WritePolicy("exec-default", policy)
	s.Reload()
	t.Cleanup(s.usual)
	_, result := s.do(t, "exec", sh(`bash -c 'exec 3<>/dev/tcp/127.0.0.1/%d; printf "GET /healthz HTTP/1.0\r\n\r\n" >&3; head -1 <&3'`, s.claw.Port))
	if !strings.Contains(result, " 200 ") {
		t.Errorf("the model was told %q", result)
	}
}

package openclaw

import (
	"strings"
	"testing"
)

// TestSessionsOfLongNamesAreNotOne has two sessions whose names differ behind
// the 255 bytes that creel takes of one.
func TestSessionsOfLongNamesAreNotOne(t *testing.T) {
	s := start(t)
	s.WritePolicy("exec-default", s.PolicyText("exec-default", "scope: session\n"))
	s.Reload()
	t.Cleanup(s.usual)
	long := strings.Repeat("long-", 60)
	s.doIn(t, long+"one", "exec", sh("echo theirs >/tmp/kept"))
	if _, result := s.doIn(t, long+"one", "exec", sh("cat /tmp/kept")); !strings.Contains(result, "theirs") {
		t.Errorf("control: the same session reads %q", result)
	}
	if _, result := s.doIn(t, long+"two", "exec", sh("cat /tmp/kept; ls -a /tmp")); strings.Contains(result, "theirs") {
		t.Errorf("another session reads %q", result)
	}
}

package openclaw

import (
	"net/http"
	"testing"
)

// TestKilledOpenClawLeavesNoSandbox kills it amid a command that it waits for
// and one in the background, which both resist.
func TestKilledOpenClawLeavesNoSandbox(t *testing.T) {
	s := start(t)
	const stubborn = "trap '' TERM HUP INT; setsid sh -c 'while :; do sleep 1; done' & while :; do sleep 1; done"
	background, _ := s.background(t, "killed", stubborn)
	waited := NewCall("exec", sh(stubborn))
	request := s.claw.Request("waits", waited.Message(), nil)
	done := make(chan error)
	go func() {
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			response.Body.Close()
		}
		done <- err
	}()
	for _, call := range []Call{background, waited} {
		s.Eventually("it runs", func() bool { got := s.of(call); return len(got) == 1 && got[0].State == "running" })
	}
	s.claw.Kill()
	<-done
	for _, call := range []Call{background, waited} {
		s.Eventually("its sandbox has ended", func() bool { return s.ended(call) })
		if got := s.of(call); got[0].Result.Reason != "caller-gone" {
			t.Errorf("ps says %+v", got)
		}
	}
}

package supervisor

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/creel-sandbox/creel/runner/credential/redact"
)

// still is a stream that is redacted, on a clock of its own.
type still struct {
	t       *testing.T
	command net.Conn
	out     lockedBuffer
	done    chan struct{}
}

func newStill(t *testing.T, value string) *still {
	t.Helper()
	m, err := redact.NewMatcher([]redact.Value{{Name: "TOKEN", Bytes: []byte(value)}})
	check(t, err)
	s := &still{t: t, done: make(chan struct{})}
	ours, command := net.Pipe()
	s.command = command
	redactor := redact.NewRedactor(&s.out, m)
	go func() {
		defer close(s.done)
		(&output{}).redact(redactor, ours, make([]byte, 64))
		_ = redactor.Close()
		m.Destroy()
	}()
	return s
}

// write has the command write, and lets time go by; want is all that the
// caller has by then.
func (s *still) write(text string, pause time.Duration, want string) {
	s.t.Helper()
	if text != "" {
		_, err := s.command.Write([]byte(text))
		check(s.t, err)
	}
	time.Sleep(pause)
	synctest.Wait()
	if got := s.out.String(); got != want {
		s.t.Errorf("%v after %q: the caller has %q, want %q", pause, text, got, want)
	}
}

func (s *still) end() {
	check(s.t, s.command.Close())
	<-s.done
}

const stillToken = "ghp_0123456789abcdefghijklmnop"

func TestPromptIsWholeOnceTheStreamIsStill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStill(t, stillToken)
		s.write("go on? gh", stillness-1, "go on? ")
		s.write("", 1, "go on? gh")
		s.write("!\nanother g", stillness-1, "go on? gh!\nanother ")
		s.write("h", stillness-1, "go on? gh!\nanother ") // it was not still
		s.write("", 1, "go on? gh!\nanother gh")
		s.write("p_", time.Hour, "go on? gh!\nanother gh")
		s.write("?", 0, "go on? gh!\nanother ghp_?")
		s.end()
	})
}

func TestValueThatIsWrittenSlowlyIsHidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStill(t, stillToken)
		for n := range len(stillToken) - 1 {
			s.write(stillToken[n:n+1], time.Minute, stillToken[:min(n+1, 3)])
		}
		s.write(stillToken[len(stillToken)-1:], 0, "ghp[redacted:TOKEN]")
		for range 100 {
			before := s.out.String()
			for n := range len(stillToken) - 1 {
				s.write(stillToken[n:n+1], time.Minute, before)
			}
			s.write(stillToken[len(stillToken)-1:], 0, before+"[redacted:TOKEN]")
		}
		s.end()
	})
}

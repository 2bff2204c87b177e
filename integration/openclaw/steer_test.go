package openclaw

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// joined has somebody ask for a call in a group while a command of the listed
// one's runs there, and so while the model works for him. OpenClaw hands
// it to the model at once, or, if it was too late for that, afterwards: then it
// is tried again.
func (s *stage) joined(t *testing.T, from, chat int64) (call Call, told, heard string) {
	t.Helper()
	for pause := time.Second; pause < time.Minute; pause *= 2 {
		first := NewCall("exec", nil)
		first.Args = sh("touch /workspace/%s; until test -e /workspace/%[1]s.go; do sleep 0.05; done", first.ID)
		first.Args["yieldMs"] = 60000 // or it would go on in the background after 10 s
		s.telegram.Say(listed, chat, first.Message())
		s.slowly(t, "the first command runs", func() bool { return s.made(first.ID) })
		call = touch()
		before := len(s.telegram.Told(chat))
		s.telegram.Say(from, chat, call.Message())
		<-time.After(pause)
		s.write(t, first.ID+".go", "")
		s.slowly(t, "the model is told of both calls", func() bool {
			var ok bool
			told, ok = s.model.Result(call)
			return ok
		})
		s.slowly(t, "the bot answers", func() bool {
			heard = s.telegram.Told(chat)[before:]
			return strings.Contains(heard, call.Done())
		})
		if _, answered := s.model.Result(first); !answered { // what came after it was answered first
			return call, told, heard
		}
	}
	t.Fatal("OpenClaw did not have it join the run")
	return
}

func (s *stage) made(name string) bool {
	_, err := os.Stat(filepath.Join(s.Workspace, name))
	return err == nil
}

// TestWhoJoinsARunDoesNotSpeakAsItsSender has somebody speak while the model
// works for another, which OpenClaw then takes all that follows to be for.
func TestWhoJoinsARunDoesNotSpeakAsItsSender(t *testing.T) {
	s := start(t)
	s.onlyListed(t)
	call, told, heard := s.joined(t, unlisted, joinedGroup)
	s.refused(t, call, told, heard)
	call, _, _ = s.joined(t, listed, ownGroup)
	s.fresh(t, call, by(listed, ownGroup)) // control: who goes on speaking himself
}

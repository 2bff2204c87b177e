package openclaw

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// Who policies list, and who they do not.
const listed, unlisted = 1001, 1002

// The groups that policies list, and one that they do not. Where two speak, each
// test has one of its own: what is said while a run has not quite ended joins it.
const (
	listedGroup, strangersGroup, joinedGroup, ownGroup = -1002001, -1002002, -1002003, -1002004
	unlistedGroup                                      = -1002999
)

// onlyListed puts a policy in force that lists senders and channels, until the
// test ends.
func (s *stage) onlyListed(t *testing.T) {
	t.Helper()
	var channels []string
	for _, chat := range []int64{listed, unlisted, listedGroup, strangersGroup, joinedGroup, ownGroup} {
		channels = append(channels, fmt.Sprintf("'telegram:%d'", chat))
	}
	callers := fmt.Sprintf("callers: {users: ['%d'], senders: ['telegram:%d'], channels: [%s]}\n", testrig.User, listed, strings.Join(channels, ", "))
	s.WritePolicy("exec-default", s.PolicyText("exec-default", credential+callers))
	s.Reload()
	t.Cleanup(s.usual)
}

// say has somebody ask for a call in a chat, and gives what the model is told
// of it and what the chat is, once the bot has answered.
func (s *stage) say(t *testing.T, from, chat int64, call Call) (told, heard string) {
	t.Helper()
	before := len(s.telegram.Told(chat))
	s.telegram.Say(from, chat, call.Message())
	if !s.Holds(func() bool { return strings.Contains(s.telegram.Said(chat), call.Done()) }) {
		t.Fatalf("the bot does not answer to %s, and said %q\n%s", call.ID, s.telegram.Said(chat), s.claw.Log())
	}
	told, _ = s.model.Result(call)
	return told, s.telegram.Told(chat)[before:]
}

// refused wants that a call ran nothing, that the journal has it, and that
// neither the model nor who asked, in a chat or over HTTP, is told why.
func (s *stage) refused(t *testing.T, call Call, told, heard string) {
	t.Helper()
	if found := s.of(call); len(found) > 0 {
		t.Errorf("there were sandboxes: %+v", found)
	}
	if _, err := os.Stat(filepath.Join(s.Workspace, call.ID)); err == nil {
		t.Error("the command ran")
	}
	if !strings.Contains(told, "refused") {
		t.Errorf("the model was told %q", told)
	}
	if !strings.Contains(heard, call.Done()) {
		t.Errorf("who asked was told %q", heard)
	}
	for _, word := range []string{"telegram", "sender", "channel", "policy", "callers", fmt.Sprint(listed), "-100200", s.Dir} {
		for to, text := range map[string]string{"the model": told, "who asked": heard} {
			if strings.Contains(strings.ToLower(text), word) {
				t.Errorf("%s was told %q, which has %q", to, text, word)
			}
		}
	}
	for line := range strings.Lines(s.Log()) {
		if strings.Contains(line, "refused a command") && strings.Contains(line, call.ID) {
			return
		}
	}
	t.Errorf("the journal has no word of %s:\n%s", call.ID, s.Log())
}

// touch is a command that leaves a trace, if it runs.
func touch() Call {
	call := NewCall("exec", nil)
	call.Args = sh("touch /workspace/%s; echo ran", call.ID)
	return call
}

func TestOnlyListedSendersInListedChannelsRunCommands(t *testing.T) {
	s := start(t)
	s.onlyListed(t)
	for name, c := range map[string]struct {
		from, chat int64
		runs       bool
	}{
		"listed, alone with the bot":         {listed, listed, true},
		"listed, in a listed group":          {listed, listedGroup, true},
		"listed, in a group that is not":     {listed, unlistedGroup, false},
		"not listed, in a listed group":      {unlisted, strangersGroup, false},
		"not listed, in a listed chat alone": {unlisted, unlisted, false},
	} {
		t.Run(name, func(t *testing.T) {
			call := touch()
			told, heard := s.say(t, c.from, c.chat, call)
			if !c.runs {
				s.refused(t, call, told, heard)
				return
			}
			s.fresh(t, call, by(c.from, c.chat))
			if _, err := os.Stat(filepath.Join(s.Workspace, call.ID)); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFileToolsAreForListedSendersOnly shows that the other way into a sandbox
// asks for the sender, too.
func TestFileToolsAreForListedSendersOnly(t *testing.T) {
	s := start(t)
	s.onlyListed(t)
	for from, runs := range map[int64]bool{listed: true, unlisted: false} {
		call := NewCall("write", nil)
		call.Args = map[string]any{"path": call.ID, "content": "written"}
		told, heard := s.say(t, from, from, call)
		if !runs {
			s.refused(t, call, told, heard)
			continue
		}
		s.fresh(t, call, by(from, from))
		if _, err := os.Stat(filepath.Join(s.Workspace, call.ID)); err != nil {
			t.Errorf("control: %v; the model was told %q", err, told)
		}
	}
}

// TestNoIdentityIsNoSender talks to OpenClaw with its own token, which says
// nothing of a sender, and claims one in every way that a client has.
func TestNoIdentityIsNoSender(t *testing.T) {
	s := start(t)
	s.onlyListed(t)
	sender := fmt.Sprintf("telegram:%d", listed)
	for name, claim := range map[string]struct {
		body    map[string]any
		headers map[string]string
		env     map[string]any
	}{
		"nothing": {},
		"the owner, in the body": {body: map[string]any{"senderIsOwner": true, "sender": sender, "senderId": listed,
			"requester": map[string]any{"channel": "telegram", "senderId": fmt.Sprint(listed), "senderIsOwner": true},
			"metadata":  map[string]any{"senderIsOwner": "true", "senderId": fmt.Sprint(listed)}}},
		"the owner, in headers": {headers: map[string]string{
			"X-OpenClaw-Sender-Is-Owner": "true", "X-OpenClaw-Sender-Id": fmt.Sprint(listed), "X-OpenClaw-Scopes": "operator.admin",
			"X-OpenClaw-Message-Channel": "telegram", "X-OpenClaw-Account-Id": "default"}},
		"a call of another, by its name": {env: map[string]any{"CREEL_CALL": "guessed", "CREEL_SENDER": sender}},
	} {
		t.Run(name, func(t *testing.T) {
			call := touch()
			if claim.env != nil {
				call.Args["env"] = claim.env
			}
			if claim.body == nil {
				claim.body = map[string]any{}
			}
			request := s.claw.Request("claims", call.Message(), claim.body)
			for key, value := range claim.headers {
				request.Header.Set(key, value)
			}
			heard := s.body(t, request)
			told, _ := s.model.Result(call)
			s.refused(t, call, told, heard)
		})
	}
}

// body is what OpenClaw answers over HTTP, but for the numbers of the answer and
// of the second, which could have any digits.
func (s *stage) body(t *testing.T, request *http.Request) string {
	t.Helper()
	response, err := client.Do(request)
	check(t, err)
	defer response.Body.Close()
	var answer map[string]any
	check(t, json.NewDecoder(response.Body).Decode(&answer))
	delete(answer, "id")
	delete(answer, "created")
	return fmt.Sprint(answer)
}

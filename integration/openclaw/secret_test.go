package openclaw

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/runner/leakcheck"
)

// holds names the forms of a canary that data has.
func holds(data []byte, canary leakcheck.Canary) (found []string) {
	for _, form := range canary.Forms() {
		if bytes.Contains(data, form.Text) {
			found = append(found, form.Name)
		}
	}
	return found
}

// kept gives every file that OpenClaw and creeld left, and what was sent to the
// model and to chats.
func (s *stage) kept(t *testing.T) map[string][]byte {
	t.Helper()
	all := map[string][]byte{
		"requests to the model": s.model.Requests(), "the supervisor's log": []byte(s.Log()),
		"the chat": []byte(s.telegram.Told(listed)), "ps": []byte(s.Creel("ps", "-a", "--json").Stdout),
	}
	check(t, filepath.WalkDir(s.Dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return ignoreGone(err)
		}
		data, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, s.Dir)] = data
		return ignoreGone(err)
	}))
	return all
}

// ignoreGone: SQLite's files come and go.
func ignoreGone(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// TestSecretsAreInNothingThatIsKeptOrSent has commands print all they have, on
// behalf of the model and of a chat. A control that they print as well must be
// found where the model and OpenClaw keep what it said.
func TestSecretsAreInNothingThatIsKeptOrSent(t *testing.T) {
	s := start(t)
	control := leakcheck.NewCanary()
	s.write(t, "control", string(control))
	script := "cat control; env; cat /proc/self/environ | tr '\\0' '\\n'; printf %s \"$DEPLOY_TOKEN\" | base64 -w0; printf %s \"$DEPLOY_TOKEN\" | xxd -p -c0"
	_, result := s.do(t, "exec", sh("%s", script))
	if strings.Count(result, "[redacted:DEPLOY_TOKEN]") != 4 {
		t.Errorf("the model was told %q", result)
	}
	s.say(t, listed, listed, NewCall("exec", sh("%s", script)))
	check(t, os.Remove(filepath.Join(s.Workspace, "control")))
	if !s.model.Authorized("Bearer " + string(s.canaries["provider-key"])) {
		t.Error("control: the provider was not sent its key")
	}
	controls := map[string]bool{}
	for where, data := range s.kept(t) {
		for name, canary := range s.canaries {
			if found := holds(data, canary); len(found) > 0 {
				t.Errorf("the %s is in %s: %v", name, where, found)
			}
		}
		if len(holds(data, control)) > 0 {
			place, _, _ := strings.Cut(strings.TrimPrefix(where, "/claw/data/"), "/")
			controls[place] = true
		}
	}
	for _, place := range []string{"requests to the model", ".openclaw", "the chat"} {
		if !controls[place] {
			t.Errorf("control: what a command prints is not found in %s, but in %v", place, fmt.Sprint(controls))
		}
	}
}

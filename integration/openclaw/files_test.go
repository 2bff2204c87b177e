package openclaw

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
)

func (s *stage) mkdir(t *testing.T, name string) {
	t.Helper()
	check(t, os.MkdirAll(filepath.Join(s.Workspace, name), 0o777))
	check(t, os.Chmod(filepath.Join(s.Workspace, name), 0o777))
}

func (s *stage) write(t *testing.T, name, text string) {
	t.Helper()
	check(t, os.WriteFile(filepath.Join(s.Workspace, name), []byte(text), 0o666))
}

// ended reports whether a call had sandboxes that all have ended.
func (s *stage) ended(call Call) bool {
	found := s.of(call)
	return len(found) > 0 && !slices.ContainsFunc(found, func(one testrig.Sandbox) bool { return one.State != "ended" })
}

// runs reports whether a command does, by what ps and the kernel say.
func (s *stage) runs(call Call) bool {
	found := s.of(call)
	return len(found) == 1 && found[0].State == "running" && populated(found[0].ID)
}

// patch is the arguments of the apply_patch tool.
func patch(lines ...string) map[string]any {
	return map[string]any{"input": "*** Begin Patch\n" + strings.Join(lines, "\n") + "\n*** End Patch\n"}
}

// TestFileToolsWorkInSandboxesOfTheirCall has the model write, read, change, patch
// and list files, and wants ps to know for which call each sandbox was.
func TestFileToolsWorkInSandboxesOfTheirCall(t *testing.T) {
	s := start(t)
	path := "notes/today.txt"
	for _, step := range []struct {
		tool  string
		args  map[string]any
		says  string
		holds string
	}{
		{"write", map[string]any{"path": path, "content": "one\ntwo\n"}, "", "one\ntwo\n"},
		{"read", map[string]any{"path": path}, "two", "one\ntwo\n"},
		{"edit", map[string]any{"path": path, "edits": []any{map[string]any{"oldText": "two", "newText": "three"}}}, "", "one\nthree\n"},
		{"read", map[string]any{"path": path}, "three", "one\nthree\n"},
		{"ls", map[string]any{"path": "notes"}, "today.txt", "one\nthree\n"},
		{"apply_patch", patch("*** Update File: "+path, "@@", " one", "-three", "+four"), path, "one\nfour\n"},
		{"apply_patch", patch("*** Add File: notes/new.txt", "+new"), "notes/new.txt", "one\nfour\n"},
		{"ls", map[string]any{"path": "notes"}, "new.txt", "one\nfour\n"},
		{"apply_patch", patch("*** Delete File: notes/new.txt"), "notes/new.txt", "one\nfour\n"},
	} {
		call, result := s.doIn(t, "files", step.tool, step.args)
		data, err := os.ReadFile(filepath.Join(s.Workspace, path))
		if err != nil || string(data) != step.holds || !strings.Contains(result, step.says) {
			t.Errorf("after %s the file holds %q (%v), want %q; the model was told %q", step.tool, data, err, step.holds, result)
		}
		s.Eventually("its sandboxes have ended", func() bool { return s.ended(call) })
		for _, one := range s.fresh(t, call, nobody) {
			if one.Result.Reason != "exited" || one.Result.ExitCode != 0 {
				t.Errorf("%s: ps says %+v", step.tool, one)
			}
		}
	}
	if _, err := os.Stat(filepath.Join(s.Workspace, "notes/new.txt")); !os.IsNotExist(err) {
		t.Errorf("the file that a patch removed: %v", err)
	}
}

// TestLargeFileDoesNotFillOpenClaw has the model read more than a file tool is
// to hold, of a policy that bounds no output.
func TestLargeFileDoesNotFillOpenClaw(t *testing.T) {
	s := start(t)
	line := strings.Repeat("x", 1023) + "\n"
	for name, size := range map[string]int{"small": 4, "large": 128 << 10} {
		s.write(t, name, strings.Repeat(line, size))
		_, result := s.do(t, "read", map[string]any{"path": name})
		if refused := strings.Contains(result, "creel: more than"); refused != (name == "large") || !refused && !strings.Contains(result, line) {
			t.Errorf("of the %s file the model was told %.300q", name, result)
		}
		check(t, os.Remove(filepath.Join(s.Workspace, name)))
	}
}

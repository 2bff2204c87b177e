package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestImageCommandIsTheProgramBesideCreel gives creel a creel-image that says
// how it was called, and another one by PATH that must not be.
func TestImageCommandIsTheProgramBesideCreel(t *testing.T) {
	program := filepath.Join(filepath.Dir(binary), imageProgram)
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	inPath := t.TempDir()
	write(filepath.Join(inPath, imageProgram), "echo wrong")
	command := offline.command(t, "image", "ls")
	command.Env = append([]string{}, offline.env...)
	command.Env[0] = "PATH=" + inPath + ":/usr/bin:/bin"
	if got := end(t, command); strings.Contains(got.stdout, "wrong") {
		t.Errorf("found through PATH: %s", got.stdout)
	}
	write(program, `printf '<%s>' "$@"; echo; exit 3`)
	t.Cleanup(func() { os.Remove(program) })
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"ls", "--json"}, "<ls><--json>\n"},
		{[]string{"pull", "--max-size", "1GiB", "a:1"}, "<pull><--max-size><1GiB><a:1>\n"},
		{[]string{"--config", "/a b", "rm", "--", "-x"}, "<--config></a b><rm><--><-x>\n"},
		{[]string{"prune", "--help"}, "<prune><--help>\n"},
	} {
		got := offline.run(t, append([]string{"image"}, c.args...)...)
		if got.stdout != c.want || got.code != 3 {
			t.Errorf("%q: exit code %d, printed %s%s, want %s", c.args, got.code, got.stdout, got.stderr, c.want)
		}
	}
	offline.run(t, "image", "push").want(t, 125, `there is no command "push"`)
}

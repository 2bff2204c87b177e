package main

import (
	"os"
	"path/filepath"
	"testing"
)

// The programs are those beside creel, which say here how they were called;
// PATH has others, which must not run.
func TestDelegatesAreTheProgramsBesideCreel(t *testing.T) {
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	beside, inPath := filepath.Dir(binary), t.TempDir()
	for _, c := range []struct {
		program string
		args    []string
		want    string
	}{
		{imageProgram, []string{"image", "ls", "--json"}, "<image><ls><--json>\n"},
		{imageProgram, []string{"image", "pull", "--max-size", "1GiB", "a:1"}, "<image><pull><--max-size><1GiB><a:1>\n"},
		{imageProgram, []string{"image", "--config", "/a b", "rm", "--", "-x"}, "<image><--config></a b><rm><--><-x>\n"},
		{imageProgram, []string{"image", "prune", "--help"}, "<image><prune><--help>\n"},
		{imageProgram, []string{"image", "push"}, "<image><push>\n"},
		{imageProgram, []string{"image"}, "<image>\n"},
		{checkProgram, []string{"policy", "check", "--strict", "a b", "--", "-x"}, "<policy><check><--strict><a b><--><-x>\n"},
		{verifyProgram, []string{"credential", "verify-no-leak", "--policy", "p", "--", "sh", "-c", "a b"}, "<credential><verify-no-leak><--policy><p><--><sh><-c><a b>\n"},
		{checkProgram, []string{"policy", "nope"}, "<policy><nope>\n"},
	} {
		write(filepath.Join(inPath, c.program), "echo wrong")
		command := offline.command(t, c.args...)
		command.Env = append([]string{"PATH=" + inPath + ":/usr/bin:/bin"}, offline.env...)
		if got := end(t, command); got.stdout != "" {
			t.Errorf("found through PATH: %s", got.stdout)
		}
		path := filepath.Join(beside, c.program)
		write(path, `printf '<%s>' "$@"; echo; exit 3`)
		if got := end(t, offline.command(t, c.args...)); got.stdout != c.want || got.code != 3 {
			t.Errorf("%q: exit code %d, printed %s%s, want %s", c.args, got.code, got.stdout, got.stderr, c.want)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

package secret

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/creack/pty"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// TestSecretIsInTheClearInNoFile looks for values in all that the supervisor
// wrote, in what it and the client printed, and in the arguments and the
// environment of every process while a value is on its way.
func TestSecretIsInTheClearInNoFile(t *testing.T) {
	r := start(t, testrig.Options{Policy: usesToken + "\nlogs: {keep: 64KiB}", Args: []string{"--debug"}})
	const canary = "canary-6d1f0b"
	var printed strings.Builder
	told := func(got testrig.Result) { printed.WriteString(got.Stdout + got.Stderr) }

	cmd := r.Command("secret", "set", "token")
	stdin, err := cmd.StdinPipe()
	check(t, err)
	check(t, cmd.Start())
	_, err = io.WriteString(stdin, canary+"-the value\n")
	check(t, err)
	if found := processesWith(t, canary); len(found) > 0 {
		t.Errorf("while it is on its way the value is in %s", found)
	}
	if found := processesWith(t, "secret\x00set\x00token"); len(found) != 1 {
		t.Errorf("positive control: the client is found in %s", found)
	}
	check(t, stdin.Close())
	check(t, cmd.Wait())

	told(r.give(canary+"-another value", "rotate", "token"))
	told(r.give(canary+"-another value", "rotate", "token"))
	told(r.give(canary+"\x00 with a NUL", "set", "refused"))
	told(r.give(canary+strings.Repeat("x", 70000), "set", "refused"))
	told(r.give(canary+"-value of a bad name", "set", "../refused"))
	told(r.give(canary+"-value of one there is", "set", "token"))
	told(r.Shell(`echo "$TOKEN"`))
	told(r.Shell(`echo "$TOKEN" >&2; exec sleep 0`))
	told(r.Creel("secret", "ls", "--json"))
	told(r.Creel("doctor"))
	r.has(canary + "-another value")
	r.script(`mv $0 $0.away`)
	told(r.Shell("true"))
	told(r.give(canary+"-unkept value", "rotate", "token"))
	r.script(`mv $0.away $0`)
	r.Reload()

	if strings.Contains(printed.String(), canary) {
		t.Errorf("something printed the value:\n%s", &printed)
	}
	if !strings.Contains(printed.String(), "[redacted:TOKEN]") {
		t.Error("positive control: the command printed nothing")
	}
	if strings.Contains(r.Log(), canary) || !strings.Contains(r.Log(), "a secret was rotated") {
		t.Errorf("the journal holds the value, or says nothing of it:\n%s", r.Log())
	}
	// The workspace has it, since r.has put it there: the positive control.
	if found := filesWith(t, r.Dir, canary); len(found) != 1 || found[0] != r.Workspace+"/token" {
		t.Errorf("the value is in %s", found)
	}
	if found := filesWith(t, filepath.Dir(r.key), canary); len(found) > 0 {
		t.Errorf("the value is in %s", found)
	}
	key, err := os.ReadFile(r.key)
	check(t, err)
	if found := filesWith(t, r.Dir, string(key[20:60])); len(found) > 0 {
		t.Errorf("the key is in %s", found)
	}
}

// processesWith lists the arguments and environments that hold text.
func processesWith(t *testing.T, text string) []string {
	t.Helper()
	var found []string
	for _, name := range []string{"cmdline", "environ"} {
		paths, err := filepath.Glob("/proc/[0-9]*/" + name)
		check(t, err)
		for _, path := range paths {
			if data, err := os.ReadFile(path); err == nil && bytes.Contains(data, []byte(text)) {
				found = append(found, path)
			}
		}
	}
	return found
}

// filesWith lists the files below dir that hold text.
func filesWith(t *testing.T, dir, text string) []string {
	t.Helper()
	var found []string
	check(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(text)) {
			found = append(found, path)
		}
		return err
	}))
	return found
}

// A supervisor that is killed while it writes leaves the value that it had or
// the one that it was given, and every other secret.
func TestKilledSupervisorLeavesAWholeStore(t *testing.T) {
	r := start(t, testrig.Options{Policy: usesToken})
	ok(t, r.give("value number 0", "set", "token"))
	ok(t, r.give("a value that nobody touches", "set", "other"))
	last := 0
	for range 8 {
		tried, rotations, reached := last, rand.IntN(5), make(chan struct{})
		var writer sync.WaitGroup
		writer.Go(func() {
			for done := 0; ; done++ { // until there is no supervisor
				if done == rotations {
					close(reached)
				}
				tried++
				cmd := r.Command("secret", "rotate", "token")
				cmd.Stdin = strings.NewReader(fmt.Sprintf("value number %d", tried))
				if cmd.Run() != nil {
					return
				}
				last = tried
			}
		})
		<-reached
		r.KillSupervisor()
		writer.Wait()
		r.StartSupervisor()
		got := r.value()
		if got != last && got != tried {
			t.Fatalf("the secret has value %d; %d was kept and %d was being written", got, last, tried)
		}
		last = got
		if listed := r.Creel("secret", "ls"); !strings.Contains(listed.Stdout, "other") {
			t.Errorf("listed\n%s%s", listed.Stdout, listed.Stderr)
		}
	}
}

// value is the number of the value that a command is given.
func (r *rig) value() (number int) {
	r.t.Helper()
	ok(r.t, r.Shell(`printf %s "$TOKEN" >/workspace/token`))
	data, err := os.ReadFile(r.Workspace + "/token")
	check(r.t, err)
	if _, err := fmt.Sscanf(string(data), "value number %d", &number); err != nil {
		r.t.Fatalf("the secret is %q: %v", data, err)
	}
	return number
}

func TestNewKeyIsShownToNoTerminal(t *testing.T) {
	creeld := filepath.Join(testrig.Binaries(t), "creeld")
	master, slave, err := pty.Open()
	check(t, err)
	defer master.Close()
	defer slave.Close()
	cmd := exec.Command(creeld, "--new-secrets-key")
	var stderr strings.Builder
	cmd.Stdout, cmd.Stderr = slave, &stderr
	if err := cmd.Run(); err == nil || !strings.Contains(stderr.String(), "is a terminal") || strings.Contains(stderr.String(), "AGE-SECRET-KEY") {
		t.Errorf("%v, %s", err, &stderr)
	}
	one, err := exec.Command(creeld, "--new-secrets-key").Output()
	check(t, err)
	two, err := exec.Command(creeld, "--new-secrets-key").Output()
	check(t, err)
	if !strings.HasPrefix(string(one), "AGE-SECRET-KEY-PQ-1") || string(one) == string(two) {
		t.Error("positive control: a pipe is given no key, or the same twice")
	}
}

// Two supervisors can have one store: what one of them writes the other reads,
// and neither writes over the other.
func TestTwoSupervisorsShareAStore(t *testing.T) {
	key := testrig.SecretsKey(t)
	shared := fmt.Sprintf("secrets: {dir: %s/store, key: {file: %s}}\n", filepath.Dir(key), key)
	one := &rig{Rig: testrig.Start(t, testrig.Options{Policy: usesToken, Config: shared}), t: t}
	two := &rig{Rig: testrig.Start(t, testrig.Options{Policy: usesToken, Config: shared}), t: t}
	ok(t, one.give(first, "set", "token"))
	two.has(first)
	var all sync.WaitGroup
	for n, r := range []*rig{one, two, one, two} {
		all.Go(func() {
			for i := range 5 {
				if got := r.give(second, "set", fmt.Sprintf("more-%d-%d", n, i)); got.Code != 0 {
					t.Errorf("set: %s", got.Stderr)
				}
			}
		})
	}
	all.Wait()
	for _, r := range []*rig{one, two} {
		if got := r.Creel("secret", "ls"); strings.Count(got.Stdout, "more-") != 20 {
			t.Errorf("listed\n%s", got.Stdout)
		}
	}
	ok(t, two.give(second, "rotate", "token"))
	one.has(second)
}

// Many operators and commands at once: nothing is lost, and every command gets
// a value that was set.
func TestSecretsAreChangedAndUsedAtOnce(t *testing.T) {
	r := start(t, testrig.Options{Policy: usesToken})
	ok(t, r.give(first, "set", "token"))
	var all sync.WaitGroup
	for n := range 3 {
		all.Go(func() {
			for i := range 4 {
				name := fmt.Sprintf("more-%d-%d", n, i)
				if got := r.give("value of "+name, "set", name); got.Code != 0 {
					t.Errorf("set %s: %s", name, got.Stderr)
				}
				if got := r.Creel("secret", "ls"); got.Code != 0 || !strings.Contains(got.Stdout, name) {
					t.Errorf("ls: %s%s", got.Stdout, got.Stderr)
				}
				if i%2 == 0 {
					if got := r.Creel("secret", "rm", name); got.Code != 0 {
						t.Errorf("rm %s: %s", name, got.Stderr)
					}
				}
			}
		})
		all.Go(func() {
			for range 4 {
				if got := r.Shell(`test "$TOKEN" = ` + first); got.Code != 0 {
					t.Errorf("a command: %d %s", got.Code, got.Stderr)
				}
			}
		})
	}
	all.Wait()
	if got := r.Creel("secret", "ls"); strings.Count(got.Stdout, "more-") != 6 {
		t.Errorf("left\n%s", got.Stdout)
	}
}

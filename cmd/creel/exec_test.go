package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/runner/server"
	"github.com/creel-sandbox/creel/runner/server/servertest"
)

func TestExitCodesAreTheCommandsOrSayWhyNot(t *testing.T) {
	r := newRig(t)
	for name, test := range map[string]struct {
		args  []string
		code  int
		words []string
	}{
		"success":        {[]string{"--", "true"}, 0, nil},
		"failure":        {[]string{"--", "sh", "-c", "exit 7"}, 7, nil},
		"time limit":     {[]string{"--timeout", "50ms", "--", "sleep", "1000"}, 124, []string{"creel: error: ", "time limit", "creel: hint: ", "limits"}},
		"unknown policy": {[]string{"--policy", servertest.UnknownPolicy, "--", "true"}, 125, []string{"creel: error: there is no such policy\n", "creel: hint: "}},
		"denied policy":  {[]string{"--policy", servertest.DeniedPolicy, "--", "true"}, 125, []string{"creel: error: the policy is not for you\ncreel: hint: ask its owner\n"}},
		"not executable": {[]string{"--", "/etc/passwd"}, 126, []string{"cannot be executed"}},
		"not found":      {[]string{"--", "no-such-command"}, 127, []string{"no such command"}},
		"killed":         {[]string{"--", "sh", "-c", "kill -9 $$"}, 137, nil},
		"terminated":     {[]string{"--", "sh", "-c", "kill -15 $$"}, 143, nil},
		"no command":     {nil, 125, []string{"there is no command", "creel exec -- ls -l"}},
		"unknown flag":   {[]string{"--privileged", "--", "true"}, 125, []string{"not defined: -privileged"}},
		"no time at all": {[]string{"--timeout", "0s", "--", "true"}, 125, []string{"more than zero"}},
		"no duration":    {[]string{"--timeout", "5", "--", "true"}, 125, []string{"timeout"}},
		"NUL-free only":  {[]string{"--cwd", "x", "--", "true"}, 125, []string{"absolute path"}},
		"huge argument":  {[]string{"--", "true", strings.Repeat("x", 100000), strings.Repeat("y", 100000)}, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r.run(t, append([]string{"exec"}, test.args...)...).want(t, test.code, test.words...)
		})
	}
}

func TestArgumentsReachTheCommandAsTheyAre(t *testing.T) {
	r := newRig(t)
	for _, args := range [][]string{
		{"--", "printf", "%s|", "-it", "--", "help", "--help", "a,b", " c ", "", "\xff\xfe"},
		{"printf", "%s|", "-it", "--", "help", "--help", "a,b", " c ", "", "\xff\xfe"},
		{"-i", "--policy=p", "--", "printf", "%s|", "-it", "--", "help", "--help", "a,b", " c ", "", "\xff\xfe"},
	} {
		got := r.run(t, append([]string{"exec"}, args...)...)
		got.want(t, 0)
		if want := "-it|--|help|--help|a,b| c ||\xff\xfe|"; got.stdout != want {
			t.Errorf("%q printed %q, want %q", args, got.stdout, want)
		}
	}
	if got := r.run(t, "exec", "help"); got.code != 127 {
		t.Errorf("the command help: %+v", got)
	}
	if got := r.run(t, "exec", "--", "echo", "--generate-bash-completion"); got.stdout != "--generate-bash-completion\n" {
		t.Errorf("the argument of an older completion: %+v", got)
	}
}

func TestEnvironmentIsWhatWasGivenAndNothingElse(t *testing.T) {
	r := newRig(t)
	r.env = append(r.env, "OWN=from creel", "OTHER=secret")
	got := r.run(t, "exec", "-e", "A=b,c", "-e", "B= d ", "-e", "OWN", "-e", "UNSET", "-e", "EMPTY=", "--env=Z==", "--", "/usr/bin/env")
	got.want(t, 0)
	if want := "A=b,c\nB= d \nOWN=from creel\nEMPTY=\nZ==\n"; got.stdout != want {
		t.Errorf("environment %q, want %q", got.stdout, want)
	}
	bad := r.run(t, "exec", "-e", "=hunter2", "--", "true")
	bad.want(t, 125, "one has no name")
	if strings.Contains(bad.stderr, "hunter2") {
		t.Errorf("a value in a message: %s", bad.stderr)
	}
}

func TestStdinIsAtItsEndWithoutInteractive(t *testing.T) {
	r := newRig(t)
	for flag, want := range map[string]string{"-i": "in\x00\xff", "--": ""} {
		command := r.command(t, "exec", flag, "cat")
		command.Stdin = strings.NewReader("in\x00\xff")
		if got := end(t, command); got.stdout != want || got.code != 0 {
			t.Errorf("%s: %+v, want stdout %q", flag, got, want)
		}
	}
}

func TestOrderOfBothStreamsIsKeptWhereTheyAreOne(t *testing.T) {
	r := newRig(t)
	got := r.sh(t, `creel exec -- sh -c 'i=0; while [ $i -lt 300 ]; do echo $i; echo $i >&2; i=$((i+1)); done' >both 2>&1; cat both`)
	lines := strings.Fields(got.stdout)
	if len(lines) != 600 {
		t.Fatalf("%d lines, want 600", len(lines))
	}
	for i := 0; i < len(lines); i += 2 {
		if lines[i] != lines[i+1] {
			t.Fatalf("line %d is %s, and %s follows", i, lines[i], lines[i+1])
		}
	}
	apart := r.sh(t, `creel exec -- sh -c 'echo out; echo err >&2' >one 2>two; cat one; cat two >&2`)
	if apart.stdout != "out\n" || apart.stderr != "err\n" {
		t.Errorf("two files: %+v", apart)
	}
}

func TestAGibibytePassesInBoundedMemory(t *testing.T) {
	const size = 1 << 30
	const bound = 64 << 10 // KiB
	r := newRig(t)
	command := r.command(t, "exec", "-i", "--", "sh", "-c", "head -c 1073741824 /dev/zero; cat")
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	n, err := io.CopyN(io.Discard, stdout, size)
	if err != nil {
		t.Fatalf("%d bytes, then %v", n, err)
	}
	took := time.Since(begin)
	peak := peakMemory(t, command.Process.Pid)
	io.WriteString(stdin, "end")
	stdin.Close()
	rest, err := io.ReadAll(stdout)
	if err != nil || string(rest) != "end" {
		t.Errorf("after 1 GiB came %q, %v", rest, err)
	}
	if err := command.Wait(); err != nil {
		t.Error(err)
	}
	if peak > bound {
		t.Errorf("creel took %d KiB at its peak, want at most %d", peak, bound)
	}
	t.Logf("1 GiB in %v (%.2f GB/s), creel's peak %d KiB", took, size/took.Seconds()/1e9, peak)
}

// peakMemory is VmHWM of proc(5) in KiB. The rusage of a child would hold
// the memory of the process that forked it, too.
func peakMemory(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	match := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)
	if match == nil {
		t.Fatalf("no VmHWM in %s", status)
	}
	peak, _ := strconv.Atoi(string(match[1]))
	return peak
}

func TestLargeStdinPassesWhileNobodyReadsOutput(t *testing.T) {
	r := newRig(t)
	command := r.command(t, "exec", "-i", "--", "cat")
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	command.Stdin = bytes.NewReader(data)
	if got := end(t, command); got.stdout != string(data) {
		t.Errorf("%d bytes came back, want %d", len(got.stdout), len(data))
	}
}

func TestPipelineEndsWhenItsReaderDoes(t *testing.T) {
	r := newRig(t)
	begin := time.Now()
	got := r.sh(t, `creel exec -- yes | head -1; echo "${PIPESTATUS[0]}"`)
	if got.stdout != "y\n141\n" || got.stderr != "" {
		t.Errorf("%+v", got)
	}
	<-r.host.Causes // the invocation has ended
	got = r.sh(t, `creel exec -- sh -c 'trap "" PIPE; while :; do echo y; done 2>/dev/null' | head -1; echo "${PIPESTATUS[0]}"`)
	if got.stdout != "y\n141\n" || got.stderr != "" {
		t.Errorf("a command that ignores SIGPIPE: %+v", got)
	}
	if cause := <-r.host.Causes; cause != server.ErrCallerGone {
		t.Errorf("cause %v, want ErrCallerGone", cause)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
	got = r.sh(t, `creel exec -- sh -c 'yes 2>/dev/null; exit 3' | head -1; echo "${PIPESTATUS[0]}"`)
	if got.stdout != "y\n3\n" {
		t.Errorf("a command that ends by itself: %+v", got)
	}
}

func TestKilledCallerEndsTheInvocation(t *testing.T) {
	r := newRig(t)
	command, _ := r.running(t, "exec", "--", "sh", "-c", "trap '' TERM INT HUP; echo; while :; do sleep 1000; done")
	if err := command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if cause := <-r.host.Causes; cause != server.ErrCallerGone {
		t.Errorf("cause %v, want ErrCallerGone", cause)
	}
}

func TestInheritedDescriptorsAreNotHandedOn(t *testing.T) {
	r := newRig(t)
	command := r.command(t, "exec", "--", "ls", "-l", "/proc/self/fd/0", "/proc/self/fd/1", "/proc/self/fd/2")
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	command.ExtraFiles = []*os.File{null}
	got := end(t, command)
	if got.code != 0 || strings.Count(got.stdout, "pipe:[") != 3 {
		t.Errorf("stdio of the command:\n%s%s", got.stdout, got.stderr)
	}
}

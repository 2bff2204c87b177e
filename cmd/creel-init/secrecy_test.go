package main

import (
	"os"
	"strings"
	"testing"
)

// A command of the same user can look into an ordinary process of its own,
// which is the control, and not into PID 1.
func TestCommandCannotLookIntoTheInit(t *testing.T) {
	got := run(t, script(
		probePath+" peek-init 1",
		"echo ---",
		"sleep 1000 & "+probePath+" peek-init $!"), "")
	refused, allowed, ok := strings.Cut(got.stdout, "---\n")
	if !ok || got.stderr != "" {
		t.Fatalf("got %q, stderr %q", got.stdout, got.stderr)
	}
	if strings.Contains(refused, "allowed") || strings.Count(refused, "refused") < 15 {
		t.Errorf("on PID 1:\n%s", refused)
	}
	for _, line := range strings.Split(strings.TrimSpace(allowed), "\n") {
		// stack and pagemap are for the capable only, whoever's they are.
		if strings.HasSuffix(line, "refused") && !strings.HasPrefix(line, "stack") && !strings.HasPrefix(line, "pagemap") {
			t.Errorf("on an ordinary process: %s", line)
		}
	}
}

// Non-dumpable shows as files of /proc/PID that belong to root (proc(5)).
func TestBothProcessesAreNotDumpable(t *testing.T) {
	b, r := ready(t, engineOptions{})
	for _, pid := range []int{b.pid, hostPid(t, b, r.Child)} {
		if uid := ownerOf(t, pid); uid != 0 {
			t.Errorf("process %d: /proc files belong to %d", pid, uid)
		}
	}
	must(t, b.start(script("echo up; read line")))
	b.readUntil("up\n")
	if uid := ownerOf(t, hostPid(t, b, r.Child)); uid != sandboxUID { // the control
		t.Errorf("the command's /proc files belong to %d", uid)
	}
	b.finish("\n")
}

// After the job, not one byte of its environment is left in PID 1's memory.
func TestInitForgetsTheJob(t *testing.T) {
	b, r := ready(t, engineOptions{})
	job := script("echo up; read line")
	canary := "canary-" + strings.Repeat("q7z", 20)
	job.Env = append(job.Env, []byte("SECRET="+canary))
	must(t, b.start(job))
	b.readUntil("up\n")
	if n := occurrences(t, b.pid, canary); n != 0 {
		t.Errorf("PID 1 holds the secret %d times", n)
	}
	if occurrences(t, hostPid(t, b, r.Child), canary) == 0 { // the control
		t.Error("the command does not hold the secret")
	}
	b.finish("\n")
}

func TestIdlePairIsSmall(t *testing.T) {
	b, r := ready(t, engineOptions{})
	init, child := proportionalSet(t, b.pid), proportionalSet(t, hostPid(t, b, r.Child))
	info, err := os.Stat(initPath)
	must(t, err)
	t.Logf("PSS %d + %d KiB, binary %d bytes", init, child, info.Size())
	if init+child > 3<<10 {
		t.Errorf("PSS %d KiB, want at most 3 MiB", init+child)
	}
}

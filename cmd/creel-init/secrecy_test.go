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
func TestInitIsNotDumpable(t *testing.T) {
	b := ready(t, engineOptions{})
	if uid := ownerOf(t, b.pid); uid != 0 {
		t.Errorf("its /proc files belong to %d", uid)
	}
	must(t, b.start(script("echo up; read line")))
	b.readUntil("up\n")
	if uid := ownerOf(t, commandOf(t, b)); uid != sandboxUID { // the control
		t.Errorf("the command's /proc files belong to %d", uid)
	}
	b.finish("\n")
}

// After the job, not one byte of its environment is left in PID 1's memory.
func TestInitForgetsTheJob(t *testing.T) {
	b := ready(t, engineOptions{})
	job := script("echo up; read line")
	canary := "canary-" + strings.Repeat("q7z", 20)
	job.Env = append(job.Env, []byte("SECRET="+canary))
	must(t, b.start(job))
	b.readUntil("up\n")
	if n := occurrences(t, b.pid, canary); n != 0 {
		t.Errorf("PID 1 holds the secret %d times", n)
	}
	if occurrences(t, commandOf(t, b), canary) == 0 { // the control
		t.Error("the command does not hold the secret")
	}
	b.finish("\n")
}

func TestIdleInitIsSmall(t *testing.T) {
	b := ready(t, engineOptions{})
	pss := proportionalSet(t, b.pid)
	info, err := os.Stat(initPath)
	must(t, err)
	t.Logf("PSS %d KiB, binary %d bytes", pss, info.Size())
	if pss > 3<<10 {
		t.Errorf("PSS %d KiB, want at most 3 MiB", pss)
	}
}

package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/runner/client"
)

// asProgram in the environment makes this test binary the program itself.
const asProgram = "CREEL_CHECK_TEST_RUN"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Exit(run(os.Args))
	}
	os.Exit(m.Run())
}

// ran is how a creel-check ended.
type ran struct {
	stdout, stderr string
	code           int
}

func check(t *testing.T, args ...string) ran {
	t.Helper()
	return checkAt(t, "/nonexistent/admin.sock", args...)
}

// checkAt asks the supervisor at a socket.
func checkAt(t *testing.T, socket string, args ...string) ran {
	t.Helper()
	command := exec.CommandContext(t.Context(), "/proc/self/exe", args...)
	command.Env = []string{asProgram + "=1", client.AdminSocketVariable + "=" + socket}
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := command.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return ran{stdout.String(), stderr.String(), command.ProcessState.ExitCode()}
}

// want checks an exit code and that the messages hold some words. No words
// means that there is no message.
func (r ran) want(t *testing.T, code int, words ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d; stderr:\n%s", r.code, code, r.stderr)
	}
	if len(words) == 0 && r.stderr != "" {
		t.Errorf("unexpected messages:\n%s", r.stderr)
	}
	for _, word := range words {
		if !strings.Contains(r.stderr, word) {
			t.Errorf("messages:\n%swant %q there", r.stderr, word)
		}
	}
}

package enginetest

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"os"
)

// siege is a command that runs in a sandbox until its standard input ends.
type siege struct {
	cmd   *exec.Cmd
	input io.Closer
	lines *bufio.Reader
	// said is what the command printed until it was ready.
	said   outcomes
	stderr bytes.Buffer
}

// begin starts a command in a sandbox and returns when it has printed that it
// is ready.
func (s *site) begin(t *testing.T, policy string, argv ...string) *siege {
	t.Helper()
	w := &siege{cmd: s.Command(append([]string{"exec", "-i", "--policy", policy, "--"}, argv...)...)}
	input, err := w.cmd.StdinPipe()
	s.check(err)
	output, err := w.cmd.StdoutPipe()
	s.check(err)
	w.cmd.Stderr = &w.stderr
	w.input, w.lines = input, bufio.NewReader(output)
	s.check(w.cmd.Start())
	t.Cleanup(func() { _ = w.cmd.Process.Kill() }) // it has ended by then, if all is well
	var text strings.Builder
	for {
		line, err := w.lines.ReadString('\n')
		text.WriteString(line)
		if strings.HasPrefix(line, "ready") {
			break
		}
		if err != nil {
			_ = w.cmd.Wait()
			t.Fatalf("%v in %s: ended before it was ready: %q %s", argv, policy, text.String(), w.stderr.String())
		}
	}
	w.said = parse(t, text.String())
	return w
}

// end lets the command end, and returns its exit code.
func (w *siege) end(t *testing.T) int {
	t.Helper()
	w.input.Close()
	_, _ = io.Copy(io.Discard, w.lines)
	_ = w.cmd.Wait()
	return w.cmd.ProcessState.ExitCode()
}

// running counts processes of this machine with these words among their
// arguments.
func running(words ...string) int {
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	found := 0
	for _, path := range paths {
		data, err := os.ReadFile(path)
		has := err == nil
		for _, word := range words {
			has = has && (word == "" || bytes.Contains(data, fmt.Appendf(nil, "\x00%s\x00", word)))
		}
		if has && bytes.HasSuffix(bytes.SplitN(data, []byte{0}, 2)[0], []byte("creel")) {
			continue // the client, which names them too
		}
		if has {
			found++
		}
	}
	return found
}

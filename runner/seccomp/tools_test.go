package seccomp

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"testing"
)

// tools are testdata/tools/NAME.sh: real programs, run with $URL an HTTP
// server on loopback, and what they print. CI installs every program.
var tools = map[string]struct {
	needs []string
	want  string
}{
	"bash":      {[]string{"bash"}, "caught\nbackground\nTHROUGH 42\n"},
	"coreutils": {[]string{"ls", "stty"}, "1000\ncoreutils\n"},
	"git":       {[]string{"git"}, "2\n"},
	"python3":   {[]string{"python3"}, "python\n"},
	"node":      {[]string{"node"}, "node gateway y\n"},
	"gcc":       {[]string{"gcc", "make", "ar"}, "built\n"},
	"tar":       {[]string{"tar", "gzip", "xz"}, "6\na\n"},
	"curl":      {[]string{"curl"}, "gateway14\n"},
}

func TestRealToolsWorkUnderBothFilters(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "gateway")
	}))
	defer server.Close()
	programs := asInSandbox(t)
	scripts, err := filepath.Glob("testdata/tools/*.sh")
	if err != nil || len(scripts) != len(tools) {
		t.Fatalf("%d scripts for %d tools: %v", len(scripts), len(tools), err)
	}
	for name, tool := range tools {
		t.Run(name, func(t *testing.T) {
			for _, need := range tool.needs {
				if _, err := exec.LookPath(need); err != nil {
					t.Fatalf("%s is not installed", need)
				}
			}
			script, err := filepath.Abs("testdata/tools/" + name + ".sh")
			if err != nil {
				t.Fatal(err)
			}
			cmd := filtered(t, programs, "exec", "bash", script)
			cmd.Env = append(cmd.Env, "URL="+server.URL)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil || string(out) != tool.want {
				t.Errorf("%v: printed %q, want %q\n%s", err, out, tool.want, &stderr)
			}
		})
	}
}

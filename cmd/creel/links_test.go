package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Even where cgo is on, creel links nothing that uses it, so it is one static
// file and starts without a dynamic linker.
func TestCreelLinksNothingHeavy(t *testing.T) {
	list := exec.Command("go", "list", "-deps", "-tags", "urfave_cli_no_docs", ".")
	list.Env = append(os.Environ(), "CGO_ENABLED=1")
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	linked := strings.Fields(string(out))
	found := false
	for _, path := range linked {
		found = found || path == "github.com/creel-sandbox/creel/runner/client"
		for banned, why := range map[string]string{
			"runtime/cgo":                           "needs a dynamic linker",
			"net":                                   "brings cgo and its own initialisation; Unix sockets need none of it",
			"net/http":                              "nothing here speaks HTTP",
			"os/user":                               "brings cgo",
			"os/exec":                               "creel starts no process",
			"crypto/tls":                            "nothing here leaves the machine",
			"testing":                               "tests stay out of binaries",
			"github.com/russross/blackfriday/v2":    "a third of a millisecond at every start (tag urfave_cli_no_docs)",
			"github.com/creel-sandbox/creel/policy": "brings YAML: a third of a millisecond at every start",
			"github.com/creel-sandbox/creel/runner/server":            "the supervisor's side",
			"github.com/creel-sandbox/creel/runner/supervisor":        "the supervisor's side",
			"github.com/creel-sandbox/creel/runner/engine":            "makes containers",
			"github.com/creel-sandbox/creel/runner/credential":        "holds secrets",
			"github.com/creel-sandbox/creel/runner/seccomp":           "uses cgo",
			"github.com/seccomp/libseccomp-golang":                    "uses cgo",
			"github.com/creel-sandbox/creel/runner/server/servertest": "runs commands without a sandbox",
		} {
			if path == banned {
				t.Errorf("creel links %s: %s", banned, why)
			}
		}
	}
	if !found {
		t.Errorf("positive control: runner/client is not among %d packages", len(linked))
	}
}

func BenchmarkStartOfVersionClient(b *testing.B) {
	for b.Loop() {
		offline.run(b, "version", "--client").want(b, 0)
	}
}

func BenchmarkExecTrue(b *testing.B) {
	r := newRig(b)
	go func() {
		for range r.host.Causes { // room for any number of ends
		}
	}()
	for b.Loop() {
		r.run(b, "exec", "--", "/bin/true").want(b, 0)
	}
}

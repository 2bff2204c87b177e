// Package systemd holds the unit files that creel installs, and the test that
// boots a real systemd to run them.
//
// It may import integration/vm and the standard library. It never runs a unit
// on the machine of the test.
package systemd

import (
	"context"
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/integration/vm"
)

//go:embed guest.sh
var guestScript string

// TestSupervisorOnARealSystemd installs what make install installs in a
// machine with systemd and nothing but cgroup v2, and runs the checks of
// guest.sh there, each a subtest.
func TestSupervisorOnARealSystemd(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	image, err := vm.Cached(ctx, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	report, err := image.Run(ctx, os.DirFS(input(ctx, t)))
	t.Logf("machine ran for %v; in it:\n%s", time.Since(start).Round(time.Second), report.Files["timing"])
	if err != nil {
		t.Errorf("%v\nconsole:\n%s", err, report.Console)
	}
	ran := map[string]bool{}
	for _, check := range report.Checks {
		ran[check.Name] = true
		t.Run(check.Name, func(t *testing.T) {
			if !check.OK {
				t.Errorf("%s", strings.ReplaceAll(check.Why, "|", "\n"))
			}
		})
	}
	for _, name := range declaredChecks(t) {
		if !ran[name] {
			t.Errorf("check %s did not run", name)
		}
	}
	keep(t, report)
}

// input is the directory that the machine finds at /in.
func input(ctx context.Context, t *testing.T) string {
	dir := t.TempDir()
	install := exec.CommandContext(ctx, "make", "--no-print-directory", "-C", "../..", "install", "DESTDIR="+filepath.Join(dir, "root"))
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("make install: %v\n%s", err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "run"), []byte(guestScript), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, mark := range map[string]string{"recipe": "--new-secrets-key", "agent": "/usr/share/creel/openclaw.json"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(recipe(t, mark)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// recipe is README's block of commands that has something: those that give the
// store of secrets its key, or that declare OpenClaw.
func recipe(t *testing.T, mark string) string {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(readme), -1) {
		if strings.Contains(block[1], mark) {
			return block[1]
		}
	}
	t.Fatalf("README.md has no block with %s", mark)
	return ""
}

// declaredChecks lists the functions of the script that are checks, so that
// one that the script forgets to call is missed.
func declaredChecks(t *testing.T) []string {
	var names []string
	for _, match := range regexp.MustCompile(`(?m)^check_(\w+)\(\)`).FindAllStringSubmatch(guestScript, -1) {
		names = append(names, match[1])
	}
	if len(names) < 10 {
		t.Errorf("found only the checks %q in guest.sh", names)
	}
	return names
}

// keep shows where it went wrong: the log of every check, and the journal.
func keep(t *testing.T, report vm.Report) {
	if !t.Failed() {
		return
	}
	t.Logf("log of the checks:\n%s", report.Files["log"])
	journal := report.Files["journal"]
	const most = 64 << 10 // bytes
	t.Logf("end of the journal:\n%s", journal[max(0, len(journal)-most):])
}

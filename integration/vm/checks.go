package vm

import (
	"context"
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// checks is what scripts of checks begin with.
//
//go:embed checks.sh
var checks string

// Check boots the machine and runs a script's checks there, each a subtest: its
// functions check_NAME, by run_checks of checks.sh. The script finds what `make
// install` installs in /in/root, and files by their names in /in.
func (m Machine) Check(ctx context.Context, t *testing.T, script string, files map[string][]byte) {
	t.Helper()
	dir := t.TempDir()
	_, here, _, _ := runtime.Caller(0)
	install := exec.CommandContext(ctx, "make", "--no-print-directory", "-C", filepath.Join(filepath.Dir(here), "../.."), "install", "DESTDIR="+dir+"/root")
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("make install: %v\n%s", err, out)
	}
	all := map[string][]byte{"run": []byte(script), "checks": []byte(checks)}
	for name, data := range files {
		all[name] = data
	}
	for name, data := range all {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	start := time.Now()
	report, err := m.Run(ctx, os.DirFS(dir))
	t.Logf("machine ran for %v; in it:\n%s", time.Since(start).Round(time.Second), report.Files["timing"])
	if err != nil {
		t.Errorf("%v\nconsole:\n%s", err, report.Console)
	}
	report.check(t, script)
	report.keep(t)
}

// check has a subtest for each check. Those that the script has and forgets to
// call are missed.
func (r Report) check(t *testing.T, script string) {
	t.Helper()
	ran := map[string]bool{}
	for _, check := range r.Checks {
		ran[check.Name] = true
		t.Run(check.Name, func(t *testing.T) {
			if !check.OK {
				t.Errorf("%s", strings.ReplaceAll(check.Why, "|", "\n"))
			}
		})
	}
	declared := regexp.MustCompile(`(?m)^check_(\w+)\(\)`).FindAllStringSubmatch(script, -1)
	if len(declared) == 0 {
		t.Error("the script has no checks")
	}
	for _, match := range declared {
		if !ran[match[1]] {
			t.Errorf("check %s did not run", match[1])
		}
	}
}

// keep shows where it went wrong: the log of every check, and the journal.
func (r Report) keep(t *testing.T) {
	t.Helper()
	if !t.Failed() {
		return
	}
	t.Logf("log of the checks:\n%s", r.Files["log"])
	journal := r.Files["journal"]
	const most = 64 << 10 // bytes
	t.Logf("end of the journal:\n%s", journal[max(0, len(journal)-most):])
}

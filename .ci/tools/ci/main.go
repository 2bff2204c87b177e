// Command ci runs everything that CI runs, in order, and ends with one line
// that adds it up: "N passed, N failed". Arguments name the steps to run;
// without one, all of them are.
//
// It may import the standard library only. It never stops at a failed step,
// so that one run shows all that is wrong, and with CI=true it never lets a
// skipped test pass.
package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"
	"time"
)

// step is one thing to run in the repository's root.
type step struct {
	name  string
	test  bool // a go test, whose -json events are counted one by one
	argv  []string
	about string
}

// steps, for two cores, never from the cache: what tests depend on is also
// the machine. Tests that change the machine (mounts, cgroups,
// processes) and count what is left of them run one package at a time.
var steps = []step{
	{"build", false, []string{"make", "--no-print-directory", "build"}, "the binaries"},
	{"lint", false, []string{"make", "--no-print-directory", "lint"}, "gofmt, vet, staticcheck, shellcheck"},
	{"tools", true, []string{"go", "-C", ".ci/tools", "test", "-json", "./..."}, "the checker of the tests"},
	{"unit", true, []string{"bash", "-c", "exec go test -json -count=1 -race -p 2 -timeout 8m " +
		"$(go list ./policy/... ./profiles/... ./runner/... | grep -v /enginetest$)"}, "packages, under the race detector"},
	// Without it: they drive the binaries that users get.
	{"conformance", true, []string{"go", "test", "-json", "-count=1", "-timeout", "25m",
		"./runner/engine/enginetest"}, "every engine and kind of root, attacked"},
	{"integration", true, []string{"go", "test", "-json", "-count=1", "-p", "1", "-timeout", "40m",
		"./cmd/...", "./integration/..."}, "the real binaries, and the machine with systemd"},
}

// takeSignals ends this program by what a terminal, or whoever started it, ends
// programs with. It takes them even where they were ignored, as nohup(1) and a
// shell's background have it: what is ignored tests would inherit, and so the
// commands that they send signals to.
func takeSignals() {
	taken := make(chan os.Signal, 1)
	signal.Notify(taken, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM)
	go func() {
		fmt.Fprintf(os.Stdout, "ci: error: ended by %v\n", <-taken)
		os.Exit(1)
	}()
}

func main() {
	takeSignals()
	report := newReport(os.Stdout)
	for _, s := range steps {
		if len(os.Args) > 1 && !slices.Contains(os.Args[1:], s.name) {
			continue
		}
		fmt.Printf("== %s: %s\n", s.name, s.about)
		start, before := time.Now(), lookAtMachine()
		if err := s.run(report); err != nil {
			fmt.Fprintf(os.Stdout, "ci: error: step %s: %v\n", s.name, err)
		}
		if s.test {
			left := changedSince(before)
			for _, change := range left {
				fmt.Fprintf(os.Stdout, "ci: error: step %s changed the machine: %s\n", s.name, change)
			}
			report.steps["the machine is as it was before "+s.name] = len(left) == 0
		}
		fmt.Printf("== %s took %.0fs\n", s.name, time.Since(start).Seconds())
	}
	if !report.close(os.Getenv("CI") == "true") {
		os.Exit(1)
	}
}

// run runs a step in the directory above the tools. A go test that fails has
// said so in its events, or it is counted as a failed step.
func (s step) run(report *report) error {
	cmd := exec.Command(s.argv[0], s.argv[1:]...)
	cmd.Dir = "../.."
	cmd.Stderr = os.Stdout
	if !s.test {
		cmd.Stdout = os.Stdout
		err := cmd.Run()
		report.steps[s.name] = err == nil
		return err
	}
	events, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		report.steps[s.name] = false
		return err
	}
	failedBefore := len(report.summary().failed)
	readErr := report.read(events)
	if readErr != nil {
		_, _ = io.Copy(io.Discard, events)
	}
	err = cmd.Wait()
	if readErr != nil || err != nil && len(report.summary().failed) == failedBefore {
		report.steps[s.name] = false
	}
	if readErr != nil {
		return readErr
	}
	return err
}

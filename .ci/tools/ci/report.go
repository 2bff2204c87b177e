package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strings"
	"time"
)

// event is a line of go test -json (go doc test2json).
type event struct {
	Action     string
	Package    string
	ImportPath string // of build-output and build-fail
	Test       string
	Elapsed    float64 // seconds
	Output     string
}

// testID is a test of a package; Name is empty for the package itself.
type testID struct{ Package, Name string }

func (id testID) String() string {
	return strings.TrimSuffix(id.Package+" "+id.Name, " ")
}

// report adds up what was run. A test that has subtests is not counted
// itself, unless it fails and none of them does.
type report struct {
	out     io.Writer
	ended   map[testID]string // by the last action: pass, fail or skip
	elapsed map[testID]time.Duration
	output  map[testID][]string // not yet ended
	parents map[testID]bool
	steps   map[string]bool // steps that are no go test, and whether they passed
}

func newReport(out io.Writer) *report {
	return &report{
		out: out, ended: map[testID]string{}, elapsed: map[testID]time.Duration{},
		output: map[testID][]string{}, parents: map[testID]bool{}, steps: map[string]bool{},
	}
}

// read takes the whole output of one go test -json.
func (r *report) read(events io.Reader) error {
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			r.line(line)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read test events: %w", err)
		}
	}
}

// line takes one line; what is no event is for people.
func (r *report) line(line string) {
	var e event
	if json.Unmarshal([]byte(line), &e) != nil || e.Action == "" {
		fmt.Fprint(r.out, line)
		return
	}
	id := testID{e.Package, e.Test}
	switch e.Action {
	case "run":
		r.run(id)
	case "output":
		r.output[id] = append(r.output[id], e.Output)
	case "build-output":
		fmt.Fprint(r.out, e.Output)
	case "pass", "fail", "skip":
		r.end(id, e)
	}
}

func (r *report) run(id testID) {
	r.ended[id] = "fail" // until it says otherwise: a crash says nothing
	if slash := strings.LastIndexByte(id.Name, '/'); slash > 0 {
		r.parents[testID{id.Package, id.Name[:slash]}] = true
	}
}

func (r *report) end(id testID, e event) {
	if id.Name == "" && e.Action == "skip" {
		delete(r.output, id) // a package without tests
		return
	}
	r.ended[id] = e.Action
	r.elapsed[id] = time.Duration(e.Elapsed * float64(time.Second))
	if e.Action != "pass" {
		fmt.Fprintf(r.out, "--- %s: %s\n%s", e.Action, id, strings.Join(r.output[id], ""))
	}
	delete(r.output, id)
	if id.Name == "" && e.Action == "pass" {
		fmt.Fprintf(r.out, "ok %s %.1fs\n", id.Package, e.Elapsed)
	}
}

// summary is what a report comes to.
type summary struct {
	passed          int
	failed, skipped []string
}

func (r *report) summary() summary {
	var s summary
	failedBelow := map[testID]bool{}
	for id, action := range r.ended {
		if action != "fail" {
			continue
		}
		for parent, ok := id.parent(); ok; parent, ok = parent.parent() {
			failedBelow[parent] = true
		}
	}
	for id, action := range r.ended {
		switch {
		case action == "fail" && !failedBelow[id]:
			s.failed = append(s.failed, id.String())
		case action == "skip":
			s.skipped = append(s.skipped, id.String())
		case action == "pass" && id.Name != "" && !r.parents[id]:
			s.passed++
		}
	}
	for name, passed := range r.steps {
		if passed {
			s.passed++
		} else {
			s.failed = append(s.failed, name)
		}
	}
	sort.Strings(s.failed)
	sort.Strings(s.skipped)
	return s
}

// parent is the test a subtest belongs to, or the package of a test.
func (id testID) parent() (testID, bool) {
	if id.Name == "" {
		return testID{}, false
	}
	slash := max(strings.LastIndexByte(id.Name, '/'), 0)
	return testID{id.Package, id.Name[:slash]}, true
}

// close prints what was slow, skipped and failed, and the closing line, and
// says whether all is well. A skipped test fails where skips are refused:
// what CI skips, nobody has tested.
func (r *report) close(refuseSkips bool) bool {
	s := r.summary()
	r.printSlowest(10)
	for _, name := range s.skipped {
		fmt.Fprintf(r.out, "skipped: %s\n", name)
	}
	if refuseSkips {
		s.failed = append(s.failed, s.skipped...)
	}
	for _, name := range s.failed {
		fmt.Fprintf(r.out, "failed: %s\n", name)
	}
	if s.passed == 0 && len(s.failed) == 0 {
		s.failed = []string{"nothing ran"}
		fmt.Fprintln(r.out, "failed: nothing ran")
	}
	fmt.Fprintf(r.out, "%d passed, %d failed\n", s.passed, len(s.failed))
	return len(s.failed) == 0
}

func (r *report) printSlowest(count int) {
	var slow []testID
	for id, elapsed := range r.elapsed {
		if id.Name != "" && !r.parents[id] && elapsed >= 2*time.Second {
			slow = append(slow, id)
		}
	}
	sort.Slice(slow, func(i, j int) bool { return r.elapsed[slow[i]] > r.elapsed[slow[j]] })
	for _, id := range slow[:min(count, len(slow))] {
		fmt.Fprintf(r.out, "slow: %6.1fs %s\n", r.elapsed[id].Seconds(), id)
	}
}

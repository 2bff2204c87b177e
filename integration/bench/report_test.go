package main

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

// a report with one contender of each kind.
func sample() *Report {
	return &Report{
		Machine: Machine{Processor: "A & B", Programs: map[string]string{}},
		Latency: []LatencyRow{
			{Contender: plain, Callers: 1, N: 10, P50: 0.1, P90: 0.6, P99: 1, Low: 0.1, High: 0.1, Rounds: []float64{0.1, 0.1, 0.1}},
			{Contender: paced(plain), Callers: 1, N: 10, P50: 0.5, P90: 0.6, P99: 1, Low: 0.4, High: 0.6, Rounds: []float64{0.5, 0.4, 5}},
			{Contender: paced(bubblewrap), Callers: 1, N: 10, P50: 5, P90: 6, P99: 10, Low: 4, High: 6, Rounds: []float64{5, 5, 0}},
			{Contender: throughAPI("crun", warm), Callers: 1, N: 10, P50: 1, P90: 2, P99: 5, Low: 1, High: 1, Rounds: []float64{1, 0.8, 0}},
			{Contender: throughShell("crun", warm), Callers: 1, N: 10, P50: 6, P90: 7, P99: 9, Low: 1, High: 1, Rounds: []float64{6, 6, 1}},
			{Contender: throughShell("runc", warm), Callers: 1, N: 10, Failed: 1, P50: 4, P90: 7, P99: 9, Low: 1, High: 1, Rounds: []float64{4, 4, 4}},
			{Contender: throughAPI("runc", warm), Callers: 1, N: 10, P50: 1, P99: 1, Rounds: []float64{1}, Note: coldNote},
			{Contender: dockerRun, Callers: 1, Note: "there is | no daemon"},
		},
		Sustained: []SustainedRow{
			{Contender: bare("crun"), PerSecond: 200, N: 9, Slices: []float64{200, 100}},
			{Contender: apart("crun"), PerSecond: 200, N: 9, Slices: []float64{220, 110}},
			{Contender: throughAPI("crun", warm), PerSecond: 180, N: 9, Slices: []float64{180, 90}},
		},
	}
}

func goal(t *testing.T, r *Report, what string) Goal {
	t.Helper()
	for _, g := range r.Goals {
		if g.What == what {
			return g
		}
	}
	t.Fatalf("no goal %q in %v", what, r.Goals)
	return Goal{}
}

func TestGoalsAreJudgedByRatios(t *testing.T) {
	r := sample()
	r.judge()
	for what, want := range map[string]string{
		"warm, API, crun: p50":                  "yes", // 2 × in both rounds that both have, and 2 × is allowed
		"warm, API, crun: p99":                  "no",  // 10 × of 8 ×
		"warm, shell, crun: p50":                "no",
		"warm, shell, runc: p50":                "no",  // one call failed
		"sustained, crun":                       "yes", // 0.9 ×
		"sustained, crun, as an engine uses it": "no",
		"warm, API, runc: p50":                  notMeasured, // what was measured was cold
		"cold, API, crun: p50":                  notMeasured, // no such row
		"1 GiB through stdout":                  notMeasured, // neither row
		"sustained, crun, then":                 notMeasured, // bwrap has no such row
	} {
		if got := goal(t, r, what); got.Met != want {
			t.Errorf("%s: %+v, want %s", what, got, want)
		}
	}
	if got := goal(t, r, "warm, API, crun: p50").Got; got != "2.00 × (2.00–2.00)" {
		t.Errorf("%q", got)
	}
}

func TestMissingContendersAreShown(t *testing.T) {
	if got := sample().markdown(); !strings.Contains(got, `| docker run | 1 | – | – | – | – | 0 | there is \| no daemon |`) {
		t.Errorf("the table hides that docker run was not measured:\n%s", got)
	}
	r := sample()
	r.unmeasured("drift", "there is no supervisor")
	if got := r.markdown(); !strings.Contains(got, "## Not measured\n\n- drift: there is no supervisor\n") {
		t.Errorf("the report hides that drift was not measured:\n%s", got)
	}
}

func TestPlotIsWellFormed(t *testing.T) {
	for _, r := range []*Report{sample(), {}} {
		plot := r.plot()
		decoder := xml.NewDecoder(strings.NewReader(plot))
		for {
			if _, err := decoder.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%v in\n%s", err, plot)
			}
		}
		if strings.Contains(plot, "NaN") || strings.Contains(plot, "Inf") {
			t.Errorf("not a number in\n%s", plot)
		}
	}
	if plot := sample().plot(); !strings.Contains(plot, ">bwrap, paced<") || strings.Contains(plot, ">docker run<") {
		t.Errorf("the plot does not have what was measured alone:\n%s", plot)
	}
}

func TestReadmeIsChangedBetweenItsMarksOnly(t *testing.T) {
	got, err := between("a\n"+beginMark+"old\n"+endMark+"b\n", "new\n")
	if want := "a\n" + beginMark + "new\n" + endMark + "b\n"; err != nil || got != want {
		t.Errorf("%q, %v", got, err)
	}
	for _, text := range []string{"", beginMark, endMark, endMark + beginMark} {
		if _, err := between(text, "new"); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func TestBareConfigurationRunsBusybox(t *testing.T) {
	got, err := bareConfig([]byte(`{"ociVersion":"1","process":{"terminal":true,"args":["sh"],"cwd":"/"},"root":{"path":"rootfs"},
		"mounts":[{"destination":"/proc"},{"destination":"/sys"},{"destination":"/sys/fs/cgroup"},{"destination":"/dev/mqueue"},{"destination":"/dev"}],"linux":{"a":1}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"ociVersion":"1","process":{"args":["/bin/busybox","true"],"cwd":"/","terminal":false},"root":{"path":"rootfs"},"hostname":"","mounts":[{"destination":"/proc"},{"destination":"/dev"}],"linux":{"a":1}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

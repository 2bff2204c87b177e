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
			{Contender: plain, Callers: 1, N: 10, P50: 0.5, P90: 0.6, P99: 1, Low: 0.4, High: 0.6},
			{Contender: bubblewrap, Callers: 1, N: 10, P50: 5, P90: 6, P99: 10, Low: 4, High: 6},
			{Contender: throughAPI("crun", warm), Callers: 1, N: 10, P50: 1, P90: 2, P99: 5, Low: 1, High: 1},
			{Contender: throughShell("crun", warm), Callers: 1, N: 10, P50: 6, P90: 7, P99: 9, Low: 1, High: 1},
			{Contender: throughAPI("runc", warm), Callers: 1, N: 10, P50: 1, P99: 1, Note: coldNote},
			{Contender: dockerRun, Callers: 1, Note: "there is | no daemon"},
		},
		Sustained: []SustainedRow{{Contender: bare("crun"), PerSecond: 200, N: 9}, {Contender: throughAPI("crun", warm), PerSecond: 180, N: 9}},
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
		"warm, API, crun: p50":   "yes", // 2 ×, and 2 × is allowed
		"warm, API, crun: p99":   "no",  // 10 × of 8 ×
		"warm, shell, crun: p50": "no",
		"sustained, crun":        "yes",      // 0.9 ×
		"warm, API, runc: p50":   unmeasured, // what was measured was cold
		"cold, API, crun: p50":   unmeasured, // no such row
		"1 GiB through stdout":   unmeasured, // neither row
		"sustained, crun, then":  unmeasured, // bwrap has no such row
	} {
		if got := goal(t, r, what); got.Met != want {
			t.Errorf("%s: %+v, want %s", what, got, want)
		}
	}
}

func TestMissingContendersAreShown(t *testing.T) {
	if got := sample().markdown(); !strings.Contains(got, `| docker run | 1 | – | – | – | – | 0 | there is \| no daemon |`) {
		t.Errorf("the table hides that docker run was not measured:\n%s", got)
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
	if plot := sample().plot(); !strings.Contains(plot, ">bwrap<") || strings.Contains(plot, ">docker run<") {
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

package main

import (
	"io"
	"slices"
	"strings"
	"testing"
)

// The events are cut down from real runs of go test -json.
const (
	passing = `{"Action":"start","Package":"p"}
{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"run","Package":"p","Test":"TestA/one"}
{"Action":"run","Package":"p","Test":"TestA/two"}
{"Action":"pass","Package":"p","Test":"TestA/one","Elapsed":0}
{"Action":"pass","Package":"p","Test":"TestA/two","Elapsed":0}
{"Action":"pass","Package":"p","Test":"TestA","Elapsed":0}
{"Action":"run","Package":"p","Test":"TestB"}
{"Action":"pass","Package":"p","Test":"TestB","Elapsed":0}
{"Action":"pass","Package":"p","Elapsed":0.1}
{"Action":"skip","Package":"empty","Elapsed":0}
`
	failing = `{"Action":"run","Package":"q","Test":"TestA"}
{"Action":"run","Package":"q","Test":"TestA/one"}
{"Action":"output","Package":"q","Test":"TestA/one","Output":"why it failed\n"}
{"Action":"fail","Package":"q","Test":"TestA/one","Elapsed":0}
{"Action":"fail","Package":"q","Test":"TestA","Elapsed":0}
{"Action":"fail","Package":"q","Elapsed":0.1}
`
	skipping = `{"Action":"run","Package":"s","Test":"TestRoot"}
{"Action":"output","Package":"s","Test":"TestRoot","Output":"needs root\n"}
{"Action":"skip","Package":"s","Test":"TestRoot","Elapsed":0}
{"Action":"pass","Package":"s","Elapsed":0.1}
`
	broken = `{"ImportPath":"b","Action":"build-output","Output":"undefined: x\n"}
{"ImportPath":"b","Action":"build-fail"}
{"Action":"start","Package":"b"}
{"Action":"output","Package":"b","Output":"FAIL\tb [build failed]\n"}
{"Action":"fail","Package":"b","Elapsed":0,"FailedBuild":"b"}
`
	crashed = `{"Action":"run","Package":"c","Test":"TestGone"}
`
)

func TestOnlyARunWithoutFailuresAndSkipsPasses(t *testing.T) {
	cases := []struct {
		name        string
		events      string
		refuseSkips bool
		closing     string
		want        bool
	}{
		{"passing", passing, true, "3 passed, 0 failed\n", true},
		{"failing", passing + failing, true, "failed: q TestA/one\n3 passed, 1 failed\n", false},
		{"skipping in CI", passing + skipping, true, "skipped: s TestRoot\nfailed: s TestRoot\n3 passed, 1 failed\n", false},
		{"skipping elsewhere", passing + skipping, false, "skipped: s TestRoot\n3 passed, 0 failed\n", true},
		{"build failure", passing + broken, true, "failed: b\n3 passed, 1 failed\n", false},
		{"crash", passing + crashed, true, "failed: c TestGone\n3 passed, 1 failed\n", false},
		{"nothing", "", true, "failed: nothing ran\n0 passed, 1 failed\n", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			report := newReport(&out)
			if err := report.read(strings.NewReader(c.events)); err != nil {
				t.Fatal(err)
			}
			if got := report.close(c.refuseSkips); got != c.want {
				t.Errorf("close() = %v, want %v", got, c.want)
			}
			if !strings.HasSuffix(out.String(), "\n"+c.closing) && out.String() != c.closing {
				t.Errorf("output ends in\n%s\nwant\n%s", out.String(), c.closing)
			}
		})
	}
}

func TestAFailedStepIsCounted(t *testing.T) {
	report := newReport(io.Discard)
	report.steps["build"], report.steps["lint"] = true, false
	s := report.summary()
	if s.passed != 1 || !slices.Equal(s.failed, []string{"lint"}) {
		t.Errorf("summary = %+v, want 1 passed and lint failed", s)
	}
}

func TestAGoTestThatCannotRunIsCounted(t *testing.T) {
	report := newReport(io.Discard)
	bad := step{name: "bad", test: true, argv: []string{"false"}}
	if err := bad.run(report); err == nil {
		t.Error("a go test that cannot run gave no error")
	}
	if s := report.summary(); !slices.Equal(s.failed, []string{"bad"}) {
		t.Errorf("failed = %q, want bad", s.failed)
	}
}

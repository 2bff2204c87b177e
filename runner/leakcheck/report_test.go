package leakcheck

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestVerdictIsCleanOnlyWhereEveryControlWasFound(t *testing.T) {
	covered := func(n *notes) {
		n.expect("a", "files", "before", "after")
		n.found("a", "before")
		n.found("a", "after")
		n.searched("a", 3)
	}
	for name, c := range map[string]struct {
		note    func(n *notes)
		verdict string
		place   Place
	}{
		"all found":     {func(n *notes) {}, Clean, Place{"a", Covered, "3 files"}},
		"one not found": {func(n *notes) { n.expect("a", "files", "again") }, Unknown, Place{"a", NotCovered, "the control was not found: again"}},
		"a problem":     {func(n *notes) { n.problem("a", "open %s: %v", "x", "refused") }, Unknown, Place{"a", NotCovered, "open x: refused"}},
		"no such place": {func(n *notes) { n.expect("a", "files", "again"); n.absent("a", "none") }, Clean, Place{"a", Absent, "none"}},
		"left out":      {func(n *notes) { n.expect("a", "files", "again"); n.leaveOut("a") }, Clean, Place{"a", LeftOut, "by --except"}},
		"a leak":        {func(n *notes) { n.leak("a", "w", process{}, seen{hits: []hit{{"f", 0}}}) }, Leak, Place{"a", Covered, "3 files"}},
		"a leak, and one not found": {func(n *notes) {
			n.expect("a", "files", "again")
			n.leak("a", "w", process{}, seen{hits: []hit{{"f", 0}}})
		}, Leak, Place{"a", NotCovered, "the control was not found: again"}},
	} {
		n := newNotes(NewCanary(), nil)
		covered(n)
		c.note(n)
		var r Report
		n.fill(&r)
		if r.Verdict != c.verdict || len(r.Places) != 1 || r.Places[0] != c.place {
			t.Errorf("%s: %s, %+v", name, r.Verdict, r.Places)
		}
	}
}

func TestReportIsBounded(t *testing.T) {
	n := newNotes(NewCanary(), nil)
	for i := range 10 * maxFindings {
		found := seen{hits: []hit{{"f", int64(i)}}}
		n.leak("a", fmt.Sprint(i), process{}, found)
		n.leak("b", "always the same", process{name: fmt.Sprint(i)}, found)
		n.problem("a", "%d", i)
	}
	var r Report
	n.fill(&r)
	if len(r.Findings) != maxFindings || r.Findings[1].Where != "always the same" || r.Findings[2].Where != "1" {
		t.Errorf("%d findings, the first %+v", len(r.Findings), r.Findings[:3])
	}
	if detail := r.Places[0].Detail; !strings.HasSuffix(detail, fmt.Sprintf("3; and %d more", 10*maxFindings-maxProblems)) {
		t.Errorf("detail %q", detail)
	}
}

func TestExceptLeavesOutWhatItNamesAndNothingBesides(t *testing.T) {
	n := newNotes(NewCanary(), []string{"kernel log", "/srv/vm", "/proc/1/"})
	for path, want := range map[string]bool{
		"kernel log": true, "kernel": false, "/srv/vm": true, "/srv/vm/disk": true, "/srv/vm2": false, "/srv": false, "/proc/1/environ": true, "/proc/12/environ": false,
	} {
		if got := n.leftOut(path); got != want {
			t.Errorf("%s: left out %v", path, got)
		}
	}
}

func TestOutputIsSearchedAcrossWrites(t *testing.T) {
	canary := NewCanary()
	for name, c := range map[string]struct {
		text    string
		verdict string
	}{
		"redacted":     {"<[redacted:TOKEN]>\n\nMARK\n", Clean},
		"not redacted": {"<[redacted:TOKEN] " + string(canary) + ">\n\nMARK\n", Leak},
		"not printed":  {"nothing\n\nMARK\n", Unknown},
	} {
		n := newNotes(canary, nil)
		marked := make(chan struct{})
		l := listen(context.Background(), n, "stdout", canary, []string{"TOKEN"}, "MARK", marked)
		for i := range len(c.text) {
			if _, err := l.Write([]byte{c.text[i]}); err != nil {
				t.Fatal(err)
			}
		}
		<-marked
		var r Report
		n.fill(&r)
		if r.Verdict != c.verdict {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

func TestDirectoriesAreWalkedOnce(t *testing.T) {
	got := outermost([]string{"/run", "/var/lib/creel/images", "/tmp", "/var/lib/creel", "/run/creel", "/var/lib/creel2", "/tmp", "/var/lib/creel/images/a"})
	if want := []string{"/run", "/tmp", "/var/lib/creel", "/var/lib/creel2"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

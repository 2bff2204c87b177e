package policy

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func TestProblemReadsAsACompilersLine(t *testing.T) {
	p := Problem{File: "/etc/creel/p.yaml", Line: 3, Column: 7, Key: "a.b", Message: "wrong", Hint: "mend it", Severity: SeverityError}
	if got, want := p.String(), "/etc/creel/p.yaml:3:7: error: a.b: wrong (hint: mend it)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	whole := Problem{File: "p.yaml", Message: "empty", Severity: SeverityWarning}
	if got, want := whole.String(), "p.yaml: warning: empty"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestFileNamesCannotForgeALine(t *testing.T) {
	p := Problem{File: "a\n/etc/p.yaml:1:1: error: x\x1b[2K", Message: "wrong", Severity: SeverityError}
	if got := p.String(); strings.ContainsAny(got, "\n\x1b") {
		t.Errorf("got %q", got)
	}
}

func TestOversizeFileIsRefusedBeforeItIsRead(t *testing.T) {
	fill := MaxFileSize - len(minimal) - 2
	mustParse(t, minimal+"#"+strings.Repeat("x", fill)+"\n")
	p, problems := Parse("big.yaml", append([]byte(minimal+"#"), bytes.Repeat([]byte("x"), fill+2)...))
	if p != nil || len(problems) != 1 || problems[0].Line != 0 {
		t.Errorf("problems:\n%s", lines(problems))
	}
}

func TestProblemsAreCountedPastTheFirstHundreds(t *testing.T) {
	for count, want := range map[int]string{mostProblems: "unknown", mostProblems + 5: "there are 5 more problems"} {
		text := minimal
		for i := range count {
			text += fmt.Sprintf("unknown%d: x\n", i)
		}
		_, problems := Parse("test.yaml", []byte(text))
		if last := problems[len(problems)-1]; len(problems) > mostProblems+1 || !strings.Contains(last.String(), want) {
			t.Errorf("%d problems: %d reported, the last is %v", count, len(problems), last)
		}
	}
}

func TestNearWordsAreSuggestedAndFarOnesAreNot(t *testing.T) {
	words := []string{"limits", "logs", "mounts"}
	for given, want := range map[string]string{
		"limit":                        "did you mean limits?",
		"mounst":                       "did you mean mounts?",
		"LOGS":                         "did you mean logs? Upper and lower case count",
		"network":                      "",
		"":                             "",
		"l":                            "",
		strings.Repeat("limits", 1000): "",
	} {
		if got := didYouMean(given, words); got != want {
			t.Errorf("%.20q: got %q, want %q", given, got, want)
		}
	}
}

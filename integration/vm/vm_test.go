package vm

import (
	"strings"
	"testing"
)

func TestResultsOfAScriptThatEndedEarlyAreRefused(t *testing.T) {
	checks, err := parseResults("ok one\nnot ok two: it broke: badly\ndone\n")
	if err != nil {
		t.Fatalf("whole results: %v", err)
	}
	want := []Check{{Name: "one", OK: true}, {Name: "two", Why: "it broke: badly"}}
	if len(checks) != 2 || checks[0] != want[0] || checks[1] != want[1] {
		t.Errorf("checks = %+v, want %+v", checks, want)
	}
	for _, text := range []string{"", "ok one\n", "ok one\nsomething else\ndone\n"} {
		if _, err := parseResults(text); err == nil || !strings.HasPrefix(err.Error(), "read results: ") {
			t.Errorf("parseResults(%q) = %v, want an error", text, err)
		}
	}
}

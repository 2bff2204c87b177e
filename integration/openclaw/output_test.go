package openclaw

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// all is the most bytes of output that OpenClaw keeps of a command, and lines how
// many of eight bytes that is. Each line says where it is.
const (
	all   = 200000
	lines = all / 8
)

// numbered prints all, without the newline that OpenClaw would take off its end.
var numbered = fmt.Sprintf("seq -f %%07.0f 1 %d | head -c %d; printf .", lines, all-1)

// output is lines of what that prints, from one on and up to another.
func output(from, to int) string {
	var b strings.Builder
	for n := from; n < to; n++ {
		fmt.Fprintf(&b, "%07d\n", n+1)
	}
	if to == lines {
		return strings.TrimSuffix(b.String(), "\n") + "."
	}
	return b.String()
}

// leftOut is how much of a result OpenClaw kept from its model.
var leftOut = regexp.MustCompile(`\[\.\.\. ([0-9]+) more characters truncated`)

// TestAllOfTheOutputArrives uses the most that OpenClaw takes of a command. It
// tells the model the start of that, and how much else there was.
func TestAllOfTheOutputArrives(t *testing.T) {
	s := start(t)
	call, result := s.do(t, "exec", sh("%s", numbered))
	s.fresh(t, call, nobody)
	found := leftOut.FindStringSubmatchIndex(result)
	if found == nil {
		t.Fatalf("the model was told %d characters, that end in %q", len(result), result[max(0, len(result)-200):])
	}
	told := result[:found[0]]
	more, err := strconv.Atoi(result[found[2]:found[3]])
	check(t, err)
	if len(told)+more != all || len(told) < all/4 || !strings.HasPrefix(output(0, lines), told) {
		t.Errorf("the model was told %d characters of %d and that %d were left out; they end in %q", len(told), all, more, told[max(0, len(told)-40):])
	}
}

// TestAllOfTheOutputOfABackgroundCommandCanBeRead has the model page through the
// same output, to its last byte.
func TestAllOfTheOutputOfABackgroundCommandCanBeRead(t *testing.T) {
	s := start(t)
	call, name := s.background(t, "pages", numbered)
	s.Eventually("its sandbox has ended", func() bool { return s.ended(call) })
	s.fresh(t, call, nobody)
	const page = lines / 5
	log := func(from int) string {
		_, result := s.doIn(t, "pages", "process", map[string]any{"action": "log", "sessionId": name, "offset": from, "limit": page})
		return result
	}
	for from := 0; from < lines; from += page {
		want := strings.TrimSuffix(output(from, from+page), "\n")
		if !s.Holds(func() bool { return log(from) == want }) {
			got := log(from)
			t.Errorf("from line %d on the model was told %d characters of %d, that end in %q", from, len(got), len(want), got[max(0, len(got)-40):])
		}
	}
}

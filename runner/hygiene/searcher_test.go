package hygiene

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/policy"
)

func mkfifo(path string) error { return unix.Mkfifo(path, 0o600) }

// subject is a policy with a workspace of this name.
func subject(t *testing.T, place string) Subject {
	t.Helper()
	j := job(t, place)
	return Subject{UID: searcher, GID: searcher, Policy: &policy.Policy{
		Mounts:  []policy.Mount{{Kind: policy.MountWorkspace, Source: j.Places[0].Name}, {Kind: policy.MountLogs, Source: "/var/log"}},
		Hygiene: &policy.Hygiene{Secrets: policy.HygieneRefuse},
	}}
}

func newSearcher(t *testing.T, subjects ...Subject) *Searcher {
	t.Helper()
	s := NewSearcher("/proc/self/exe", filepath.Join(t.TempDir(), "state", "hygiene"), make([]byte, 32))
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Keep(subjects); err != nil {
		t.Fatal(err)
	}
	return s
}

// known is what a search was told that is known: a plus for each before.
func known(r *Result) string { return r.Findings[len(r.Findings)-1] }

func TestEveryOneWhoAsksGetsASearchThatBeganAfter(t *testing.T) {
	of := subject(t, "place")
	s := newSearcher(t, of)
	var wait sync.WaitGroup
	for range 16 {
		wait.Go(func() {
			if _, err := s.Check(t.Context(), of); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	before, err := s.Check(t.Context(), of)
	if err != nil {
		t.Fatal(err)
	}
	after, err := s.Check(t.Context(), of)
	if err != nil {
		t.Fatal(err)
	}
	first, second := strings.Count(known(before), "+"), strings.Count(known(after), "+")
	if second != first+1 || first > 16 {
		t.Errorf("%d and then %d searches before", first, second)
	}
}

func TestSearchCountsForAsLongAsThePolicySays(t *testing.T) {
	of := subject(t, "place")
	of.Policy.Hygiene.MaxAge = time.Hour
	s := newSearcher(t, of)
	var before string
	for i := range 3 {
		result, err := s.Check(t.Context(), of)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 && known(result) != before {
			t.Errorf("another search: %q after %q", known(result), before)
		}
		before = known(result)
	}
	s.Learn("systemd:other", []Needle{{Length: Window, Digest: make([]byte, 32)}})
	if result, err := s.Check(t.Context(), of); err != nil || known(result) == before {
		t.Errorf("the new value was not looked for: %+v, %v", result, err)
	}
	of.Policy.Hygiene.MaxAge = 0
	if result, err := s.Check(t.Context(), of); err != nil || strings.Count(known(result), "+") != 2 {
		t.Errorf("without a maxAge: %+v, %v", result, err)
	}
}

func TestWorkspaceIsSearchedOnceAfterCommandsEnd(t *testing.T) {
	of := subject(t, "place")
	s := newSearcher(t, of)
	s.pause = time.Hour
	s.Ended(of)
	if _, err := s.Check(t.Context(), of); err != nil { // which makes the other needless
		t.Fatal(err)
	}
	s.mu.Lock()
	if s.of(of).later.Stop() {
		t.Error("it would be searched though it was since")
	}
	s.mu.Unlock()
	s.pause = 0
	s.Ended(of)
	for searched := ""; searched != "++"; { // or the test's time is up
		data, err := os.ReadFile(s.memory(of))
		if err != nil {
			t.Fatal(err)
		}
		searched = string(data)
	}
}

func TestFailedSearchIsNotTakenForAnAnswer(t *testing.T) {
	of := subject(t, "fails")
	of.Policy.Hygiene.MaxAge = time.Hour
	s := newSearcher(t, of)
	for range 2 {
		if result, err := s.Check(t.Context(), of); err == nil {
			t.Errorf("%+v", result)
		}
	}
}

func TestClosedSearcherSearchesNoMore(t *testing.T) {
	of := subject(t, "hangs")
	s := newSearcher(t, of)
	s.Begin(of) // it runs when the other is asked for
	failed := make(chan error)
	go func() {
		_, err := s.Check(t.Context(), of)
		failed <- err
	}()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err == nil {
		t.Error("it gave an answer")
	}
	if _, err := s.Check(t.Context(), of); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
}

func TestWhatNoPolicyAsksForIsForgotten(t *testing.T) {
	of, other := subject(t, "place"), subject(t, "other")
	s := newSearcher(t, of, other)
	for _, each := range []Subject{of, other} {
		if _, err := s.Check(t.Context(), each); err != nil {
			t.Fatal(err)
		}
	}
	count := func() int {
		entries, err := os.ReadDir(s.dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	if n := count(); n != 2 {
		t.Fatalf("%d memories", n)
	}
	if err := s.Keep([]Subject{of}); err != nil || count() != 1 {
		t.Errorf("%d memories, %v", count(), err)
	}
	if result, err := s.Check(t.Context(), of); err != nil || !strings.Contains(known(result), "+") {
		t.Errorf("the other was forgotten: %+v, %v", result, err)
	}
}

func TestOnlyWhatIsAllowedForNowIsLeftOut(t *testing.T) {
	day := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	allow := func(fingerprint string, until time.Time) policy.Allowed {
		return policy.Allowed{Fingerprint: fingerprint, Reason: "a test", Until: until.Truncate(24 * time.Hour)}
	}
	p := &policy.Policy{Hygiene: &policy.Hygiene{Allow: []policy.Allowed{
		allow("aaaaaaaaaaaaaaaa", day), allow("bbbbbbbbbbbbbbbb", day.AddDate(0, 0, -1)),
	}}}
	report := &Report{Findings: []Finding{
		{Path: "/a", Line: 1, Rule: "rule", Fingerprint: "aaaaaaaaaaaaaaaa"},
		{Path: "/b", Line: 2, Rule: "rule", Fingerprint: "bbbbbbbbbbbbbbbb"},
		{Path: "/c", Line: 3, Rule: "rule", Fingerprint: "cccccccccccccccc"},
		{Path: "/d", Line: 4, Rule: RuleManaged},
	}}
	got := Judge(p, report, []string{"systemd:token"}, day).Findings
	want := []string{"/b:2: rule rule, fingerprint bbbbbbbbbbbbbbbb", "/c:3: rule rule, fingerprint cccccccccccccccc", "/d:4: the value of systemd:token"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestNamesThatASandboxChoseArePrintedSafely(t *testing.T) {
	evil := "a\x1b]0;owned\x07\nb\u202e\xff"
	object := strings.Repeat("ab", 20)
	for _, f := range []Finding{
		{Path: evil, Line: 1, Rule: "r", Fingerprint: "f"},
		{Path: evil, Line: 1, Rule: evil, Fingerprint: evil, Repository: evil, Object: object, Commit: object},
		{Repository: evil, Object: object, Commit: object, Rule: RuleManaged, Value: 7},
		{Repository: evil, Object: object, Rule: RuleManaged, Value: -1},
		{Repository: evil, Object: evil, Rule: evil},
		{Repository: evil, Object: object, Commit: "\x1b]0;owned\x07", Path: evil, Rule: evil},
	} {
		line := f.describe(nil)
		for _, r := range line {
			if r < ' ' || r == '\u202e' || r == '\ufffd' {
				t.Errorf("%q", line)
			}
		}
		if !strings.Contains(line, `a\x1b]0;owned\a\nb`) {
			t.Errorf("control: the name is not in %q", line)
		}
	}
}

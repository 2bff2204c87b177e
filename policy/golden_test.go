package policy

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// reviewDay is the clock of the golden files.
var reviewDay = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// samples lists the files of testdata/DIR, which must be at least so many.
func samples(t testing.TB, dir string, least int) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.yaml"))
	if err != nil || len(files) < least {
		t.Fatalf("found %d files in testdata/%s, want at least %d (%v)", len(files), dir, least, err)
	}
	return files
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// golden compares got with the file, or with -update writes it.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(read(t, file)), got); diff != "" {
		t.Errorf("%s (-want +got; run with -update and read the difference):\n%s", file, diff)
	}
}

func lines(problems []Problem) string {
	var b strings.Builder
	for _, p := range problems {
		fmt.Fprintln(&b, p)
	}
	return b.String()
}

func TestBadPoliciesAreRefusedWithEveryProblemAtItsPlace(t *testing.T) {
	for _, file := range samples(t, "bad", 60) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			p, problems := Parse(filepath.Base(file), read(t, file))
			if p != nil || !HasErrors(problems) {
				t.Fatalf("the file was accepted: %v", problems)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".problems", lines(problems))
		})
	}
}

func TestGoodPoliciesAreAcceptedAndExplained(t *testing.T) {
	for _, file := range samples(t, "good", 5) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			doc, problems := Read(filepath.Base(file), read(t, file))
			if doc == nil {
				t.Fatalf("the file was refused:\n%s", lines(problems))
			}
			var explained strings.Builder
			for _, s := range doc.Explain() {
				fmt.Fprintf(&explained, "%s = %s (%s)\n", s.Key, s.Value, s.Origin)
			}
			base := strings.TrimSuffix(file, ".yaml")
			golden(t, base+".explain", explained.String())
			golden(t, base+".show", shown(t, doc.Policy))
			golden(t, base+".review", lines(doc.Review(reviewDay, false)))
		})
	}
}

func shown(t testing.TB, p *Policy) string {
	t.Helper()
	out, err := p.Show()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestShownPolicyReadsBackEqual(t *testing.T) {
	for _, file := range samples(t, "good", 5) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			p, _ := Parse(file, read(t, file))
			if p == nil {
				t.Fatal("the file was refused")
			}
			again, problems := Parse("shown", []byte(shown(t, p)))
			if again == nil {
				t.Fatalf("what Show wrote was refused:\n%s", lines(problems))
			}
			if diff := cmp.Diff(p, again, compareAddresses); diff != "" {
				t.Errorf("(-first +again):\n%s", diff)
			}
		})
	}
}

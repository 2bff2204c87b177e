package architecture

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

func TestRepositoryHoldsItsArchitecture(t *testing.T) {
	tree, err := Load(root)
	if err != nil {
		t.Fatal(err)
	}
	checks := map[string]func() ([]Finding, error){
		"imports":  func() ([]Finding, error) { return CheckImports(tree, ImportBans), nil },
		"calls":    func() ([]Finding, error) { return CheckCalls(tree, CallBans), nil },
		"exits":    func() ([]Finding, error) { return append(CheckExits(tree), CheckApps(tree)...), nil },
		"sizes":    func() ([]Finding, error) { return CheckSizes(tree, SizeExceptions), nil },
		"comments": func() ([]Finding, error) { return CheckComments(tree), nil },
		"promises": func() ([]Finding, error) { return CheckPromises(tree, "README.md") },
		"binaries": func() ([]Finding, error) { return CheckBinaries(t.Context(), root, BinaryRules) },
	}
	for name, check := range checks {
		t.Run(name, func(t *testing.T) {
			findings, err := check()
			if err != nil {
				t.Fatal(err)
			}
			for _, finding := range findings {
				t.Error(finding)
			}
		})
	}
}

// TestEachCheckCatchesItsViolation runs every check on a sample that breaks
// its rule in each way, next to uses that are allowed.
func TestEachCheckCatchesItsViolation(t *testing.T) {
	cases := []struct {
		sample string
		check  func(*Tree) ([]Finding, error)
		want   []string // FILE:LINE and a part of the message
	}{
		{"imports", func(tree *Tree) ([]Finding, error) { return CheckImports(tree, ImportBans), nil }, []string{
			"policy/policy.go:4: policy imports os/user: pure",
			"policy/policy.go:7: policy imports github.com/creel-sandbox/creel/runner/api: what a policy means",
			"runner/api/api.go:4: runner/api imports golang.org/x/sys/unix: both ends",
			"runner/api/api.go:5: dot import of strings",
			"runner/supervisor/supervisor.go:4: runner/supervisor imports github.com/creel-sandbox/creel/cmd/creel: arrows",
			"runner/supervisor/supervisor.go:5: runner/supervisor imports github.com/docker/docker/client: an engine",
			"runner/supervisor/supervisor.go:6: runner/supervisor imports github.com/seccomp/libseccomp-golang: cgo",
			"runner/supervisor/supervisor.go:7: runner/supervisor imports github.com/urfave/cli/v2: what a library",
		}},
		{"calls", func(tree *Tree) ([]Finding, error) { return CheckCalls(tree, CallBans), nil }, []string{
			"policy/policy.go:5: time.Now in policy: pure",
			"runner/supervisor/supervisor.go:9: os.Getenv in runner/supervisor: whoever",
			"runner/supervisor/supervisor.go:10: os.Exit in runner/supervisor: one exit",
			"runner/supervisor/supervisor.go:12: os/exec.Cmd in runner/supervisor: a second way",
		}},
		{"comments", func(tree *Tree) ([]Finding, error) { return CheckComments(tree), nil }, []string{
			"none/none.go:0: package without a comment",
			"twice/b.go:1: second package comment (the first is in twice/a.go)",
			`vague/vague.go:1: package comment does not begin with "Package vague "`,
			`vague/vague.go:1: package comment without the word "import"`,
			`vague/vague.go:1: package comment without the word "never"`,
		}},
		{"exits", func(tree *Tree) ([]Finding, error) { return append(CheckExits(tree), CheckApps(tree)...), nil }, []string{
			"cmd/bad/main.go:11: cli.App without DisableSliceFlagSeparator",
			"cmd/bad/main.go:11: cli.App without ExitErrHandler",
			"cmd/bad/main.go:14: os.Exit: cmd/bad ends itself in more than one place",
		}},
		{"promises", func(tree *Tree) ([]Finding, error) { return CheckPromises(tree, "README.md") }, []string{
			"README.md:0: promise 10 has no row",
			`README.md:5: promise 3 names no test, and does not say "not yet tested"`,
			"README.md:6: promise 4 links TestImagined to a_test.go, which does not hold it",
			"README.md:6: promise 4 names TestImagined, which does not exist",
			"README.md:7: promise 5 links TestReal to b_test.go, which does not hold it",
			"README.md:9: promise 6 has a second row",
			"README.md:12: promise 9 names TestGone, which does not exist",
			"README.md:13: promise 11 is not one of 1 to 10",
		}},
	}
	for _, c := range cases {
		t.Run(c.sample, func(t *testing.T) {
			tree, err := Load(filepath.Join("testdata", c.sample))
			if err != nil {
				t.Fatal(err)
			}
			findings, err := c.check(tree)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, findings, c.want)
		})
	}
}

func TestSizesCatchLongFilesFunctionsAndStaleExceptions(t *testing.T) {
	dir := t.TempDir()
	body := func(lines int) string { return strings.Repeat("\t_ = 0\n", lines-2) }
	table := "\t_ = []int{\n" + strings.Repeat("\t\t0,\n", 100) + "\t}\n"
	code := "\t_ = []func(){\n\t\tfunc() {\n" + strings.Repeat("\t\t\t_ = 0\n", MaxFunction) + "\t\t},\n\t}\n"
	files := map[string]string{
		"long.go":   "package main\n" + strings.Repeat("// a line\n", MaxFile),
		"excuse.go": "package main\n" + strings.Repeat("// a line\n", MaxFile),
		"full.go":   "package main\n" + strings.Repeat("// a line\n", MaxFile-1),
		"main.go": "package main\n\nfunc main() {\n" + body(MaxMain+1) + "}\n\nfunc fits() {\n" + body(MaxFunction) + "}\n\n" +
			"func longer() {\n" + body(MaxFunction+1) + "}\n\nfunc tabled() {\n" + table + "}\n",
		"table_test.go": "package main\n\nfunc tabled() {\n" + table + "}\n\nfunc long() {\n" + table + body(MaxFunction) + "}\n\nfunc code() {\n" + code + "}\n",
	}
	for file, text := range files {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	exceptions := []Exception{{"excuse.go", "the test's"}, {"full.go", "stale"}}
	compare(t, CheckSizes(tree, exceptions), []string{
		"full.go:0: exception that nothing needs any more",
		fmt.Sprintf("long.go:1: file of %d lines, of at most %d", MaxFile+1, MaxFile),
		fmt.Sprintf("main.go:3: function main of %d lines, of at most %d", MaxMain+1, MaxMain),
		fmt.Sprintf("main.go:%d: function longer of %d lines", 3+MaxMain+1+1+MaxFunction+1, MaxFunction+1),
		fmt.Sprintf("main.go:%d: function tabled of 104 lines", 3+MaxMain+1+1+MaxFunction+1+MaxFunction+1+1),
		fmt.Sprintf("table_test.go:108: function long of %d lines", MaxFunction+1),
		fmt.Sprintf("table_test.go:%d: function code of %d lines", 108+100+2+MaxFunction+1, MaxFunction+2+1+2),
	})
}

// TestBinariesCatchWhatTheyMustNotLink uses this package, which links os/exec.
func TestBinariesCatchWhatTheyMustNotLink(t *testing.T) {
	const own = Module + "/integration/architecture"
	rules := []BinaryRule{
		{Package: own, Not: []string{"os/exec"}, Reason: "refused by name"},
		{Package: own, Only: []string{std}, Reason: "refused by omission"},
		{Package: own, Not: []string{"net/http"}, Only: []string{std, own}, Reason: "allowed"},
	}
	findings, err := CheckBinaries(t.Context(), root, rules)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, findings, []string{
		"integration/architecture:0: links " + own + ": refused by omission",
		"integration/architecture:0: links os/exec: refused by name",
	})
}

// compare expects exactly the findings whose beginnings are wanted.
func compare(t *testing.T, findings []Finding, want []string) {
	t.Helper()
	var got []string
	for _, finding := range findings {
		got = append(got, finding.String())
	}
	for _, beginning := range want {
		i := slices.IndexFunc(got, func(s string) bool { return strings.HasPrefix(s, beginning) })
		if i < 0 {
			t.Errorf("not found: %s", beginning)
			continue
		}
		got = slices.Delete(got, i, i+1)
	}
	for _, extra := range got {
		t.Errorf("found too: %s", extra)
	}
}

package advisory

import (
	"fmt"
	"strings"
	"testing"
)

// states puts what is known of a build into one line.
func states(t *testing.T, text string) string {
	t.Helper()
	b, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range Check(b) {
		out = append(out, fmt.Sprintf("%s %s", strings.TrimPrefix(f.CVE, "CVE-"), f.State))
	}
	return strings.Join(out, ", ")
}

const (
	november = "2025-31133 %[1]s, 2025-52565 %[1]s, 2025-52881 %[1]s"
	old      = "2019-5736 fixed, 2024-21626 fixed, "
)

// builds are versions as the runtimes print them.
var builds = []struct{ what, text, want string }{
	{"Debian 12", "runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1+deb12u1\nspec: 1.0.2-dev\ngo: go1.19.8\nlibseccomp: 2.5.4\n",
		old + fmt.Sprintf(november, "open") + ", 2026-41579 open"},
	{"Debian 12 without security updates", "runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1+b1\n",
		"2019-5736 fixed, 2024-21626 open, " + fmt.Sprintf(november, "open") + ", 2026-41579 open"},
	{"Debian 12 after an update that nobody here has heard of", "runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1+deb12u2\n",
		old + fmt.Sprintf(november, "unknown") + ", 2026-41579 unknown"},
	{"Debian 13", "runc version 1.1.15+ds1\ncommit: 1.1.15+ds1-2+b4\nspec: 1.2.0\ngo: go1.24.4\nlibseccomp: 2.6.0\n",
		old + fmt.Sprintf(november, "open") + ", 2026-41579 open"},
	{"Debian 11", "runc version 1.0.0~rc93+ds1\ncommit: 1.0.0~rc93+ds1-5+deb11u3\n",
		old + fmt.Sprintf(november, "unknown") + ", 2026-41579 unknown"},
	{"Debian unstable", "runc version 1.3.5+ds1\ncommit: 1.3.5+ds1-1\n", old + fmt.Sprintf(november, "fixed") + ", 2026-41579 unknown"},
	{"Ubuntu 22.04 of 2024", "runc version 1.1.7-0ubuntu1~22.04.2\nspec: 1.0.2-dev\n", old + fmt.Sprintf(november, "open") + ", 2026-41579 unknown"},
	{"Ubuntu 22.04 of 2023", "runc version 1.1.4-0ubuntu1~22.04.3\n", "2019-5736 fixed, 2024-21626 open, " + fmt.Sprintf(november, "open") + ", 2026-41579 unknown"},
	{"Ubuntu 22.04", "runc version 1.3.3-0ubuntu1~22.04.3\n", old + fmt.Sprintf(november, "fixed") + ", 2026-41579 unknown"},
	{"Ubuntu 24.04 of early 2025", "runc version 1.2.5-0ubuntu1~24.04.1\n", old + fmt.Sprintf(november, "open") + ", 2026-41579 unknown"},
	{"Ubuntu 24.04 as released", "runc version 1.1.12-0ubuntu3\n", old + fmt.Sprintf(november, "unknown") + ", 2026-41579 unknown"},
	{"Ubuntu 24.04", "runc version 1.3.4-0ubuntu1~24.04.1\n", old + fmt.Sprintf(november, "fixed") + ", 2026-41579 unknown"},
	{"RHEL 9", "runc version 1.1.12\ncommit: 1.1.12-3.el9\n", old + fmt.Sprintf(november, "unknown") + ", 2026-41579 unknown"},
	{"upstream 1.1.11", "runc version 1.1.11\ncommit: v1.1.11-0-g4bccb38c\n", "2019-5736 fixed, 2024-21626 open, " + fmt.Sprintf(november, "open") + ", 2026-41579 open"},
	{"upstream 1.1.12", "runc version 1.1.12\ncommit: v1.1.12-0-g51d5e946\n", old + fmt.Sprintf(november, "open") + ", 2026-41579 open"},
	{"upstream 1.2.7", "runc version 1.2.7\n", old + fmt.Sprintf(november, "open") + ", 2026-41579 open"},
	{"upstream 1.2.8, whose branch never got the last fix", "runc version 1.2.8\n", old + fmt.Sprintf(november, "fixed") + ", 2026-41579 open"},
	{"upstream 1.3.3", "runc version 1.3.3\n", old + fmt.Sprintf(november, "fixed") + ", 2026-41579 open"},
	{"upstream 1.3.6", "runc version 1.3.6\ncommit: v1.3.6-0-g491b69ba\n", old + fmt.Sprintf(november, "fixed") + ", 2026-41579 fixed"},
	{"upstream 1.4.0-rc.2", "runc version 1.4.0-rc.2\n", old + fmt.Sprintf(november, "open") + ", 2026-41579 open"},
	{"upstream 1.4.0-rc.3", "runc version 1.4.0-rc.3\n", old + fmt.Sprintf(november, "fixed") + ", 2026-41579 open"},
	{"upstream 1.5.0-rc.2", "runc version 1.5.0-rc.2\n", old + fmt.Sprintf(november, "fixed") + ", 2026-41579 open"},
	{"upstream 1.10.0, after all of them", "runc version 1.10.0\n", old + fmt.Sprintf(november, "fixed") + ", 2026-41579 fixed"},
	{"upstream 1.0.0-rc6, from before 2024's began", "runc version 1.0.0-rc6\n", "2019-5736 open, " + fmt.Sprintf(november, "open") + ", 2026-41579 open"},
	{"upstream 1.0.0-rc2, from before the console's began", "runc version 1.0.0-rc2\n", "2019-5736 open, 2025-31133 open, 2025-52881 open, 2026-41579 open"},
	{"between two releases", "runc version 1.1.0+dev\ncommit: v1.1.0-100-gabcdef\n",
		"2019-5736 unknown, 2024-21626 unknown, " + fmt.Sprintf(november, "unknown") + ", 2026-41579 unknown"},
	{"crun of Debian 12", "crun version 1.8.1\ncommit: f8a096be060b22ccd3d5f3ebe44108517fbf6c30\nrundir: /run/crun\nspec: 1.0.0\n+SYSTEMD +SELINUX\n",
		"2022-27650 fixed, 2025-24965 open"},
	{"crun of Ubuntu 22.04", "crun version 0.17\ncommit: 0e9229ae34caaebcb86f1fde18de3acaf18c6d9a\n", "2022-27650 open, 2025-24965 open"},
	{"crun 1.21 (Debian 13)", "crun version 1.21\n", "2022-27650 fixed, 2025-24965 fixed, 2026-30892 open"},
	{"crun 1.27", "crun version 1.27\n", "2022-27650 fixed, 2025-24965 fixed, 2026-30892 fixed"},
	{"crun between two releases", "crun version 1.8.1.0.0.0.12-abcd\n", "2022-27650 unknown, 2025-24965 unknown"},
	{"another runtime", "youki version 0.5.7\n", ""},
}

func TestEveryKnownBuildIsJudgedAsItsSourcesSay(t *testing.T) {
	for _, b := range builds {
		if got := states(t, b.text); got != b.want {
			t.Errorf("%s\n got %s\nwant %s", b.what, got, b.want)
		}
	}
}

func TestDaemonsComponentIsReadLikeTheRuntimeItself(t *testing.T) {
	for _, c := range []struct{ name, version, commit, want string }{
		{"runc", "1.1.5+ds1", "1.1.5+ds1-1+deb12u1", "runc 1.1.5+ds1-1+deb12u1"},
		{"runc", "1.1.7-0ubuntu1~22.04.2", "", "runc 1.1.7-0ubuntu1~22.04.2"},
		{"runc", "1.2.5", "v1.2.5-0-g59923ef", "runc 1.2.5"},
		{"runc", "1.1.5+ds1", "", "runc 1.1.5+ds1"},
		{"containerd", "1.6.20~ds1", "1.6.20~ds1-1+deb12u3", "containerd 1.6.20~ds1-1+deb12u3"},
		{"runc", "1.4.0-rc.1+dev", "", "runc 1.4.0-rc.1 (development)"},
	} {
		b, err := Component(c.name, c.version, c.commit)
		if err != nil || b.String() != c.want {
			t.Errorf("%s %s %s: %q, %v", c.name, c.version, c.commit, b, err)
		}
	}
}

// TestNothingIsCalledFixedByHalfAVersion has what names a distribution, but
// not which of its packages.
func TestNothingIsCalledFixedByHalfAVersion(t *testing.T) {
	for _, f := range Check(Build{Runtime: "runc", Release: "1.1.5", Package: "1.1.5+ds1"}) {
		if f.State != Unknown && f.CVE != "CVE-2019-5736" {
			t.Errorf("%s is called %s", f.CVE, f.State)
		}
	}
}

func TestTextWithoutAVersionIsAnError(t *testing.T) {
	for _, text := range []string{"", "\n", "runc", "runc version", "runc version unknown", "no such file or version here", "runc version -1"} {
		if b, err := Parse(text); err == nil {
			t.Errorf("%q was read as %v", text, b)
		}
	}
}

func TestFindingsNameTheFixAndWhereItIsFrom(t *testing.T) {
	b, err := Parse("runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1\n")
	if err != nil {
		t.Fatal(err)
	}
	f := Check(b)[1]
	if f.CVE != "CVE-2024-21626" || f.Package != "1.1.5+ds1-1+deb12u1" || f.Source != "DSA-5615-1" || len(f.FixedIn) != 1 || f.FixedIn[0] != "1.1.12" {
		t.Errorf("got %+v", f)
	}
	for _, h := range holes {
		for _, p := range h.packages {
			if p.source == "" || p.series == "" || (p.fixed == "") == (p.open == "") {
				t.Errorf("%s: a row without its source or its bound: %+v", h.cve, p)
			}
		}
		if h.about == "" || len(h.fixedIn) == 0 {
			t.Errorf("%s has nothing to say", h.cve)
		}
	}
}

// TestVersionsAreOrderedAsDpkgDoes has the pairs of deb-version(7) and of the
// packages above.
func TestVersionsAreOrderedAsDpkgDoes(t *testing.T) {
	ordered := []string{
		"1.0.0~rc6", "1.0.0~rc7", "1.0.0~rc93", "1.0.0", "1.1.4", "1.1.5", "1.1.5+ds1-1", "1.1.5+ds1-1+deb12u1", "1.1.5+ds1-1+deb12u2", "1.1.12",
		"1.3.3-0ubuntu1~22.04.2", "1.3.3-0ubuntu1~22.04.3", "1.3.3-0ubuntu1~22.04.10", "1.4.0~rc.2", "1.4.0~rc.3", "1.4.0", "1.10",
	}
	for i, a := range ordered {
		for j, b := range ordered {
			want := 0
			if i != j {
				want = sign(i - j)
			}
			if got := compare(a, b); got != want {
				t.Errorf("compare %s with %s: %d, want %d", a, b, got, want)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, b := range builds {
		f.Add(b.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		b, err := Parse(text)
		if err != nil {
			return
		}
		for _, finding := range Check(b) {
			if b.Development && finding.State != Unknown {
				t.Errorf("%q: %s of a development build is called %s", text, finding.CVE, finding.State)
			}
		}
	})
}

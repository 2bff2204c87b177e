package advisory

import (
	"fmt"
	"regexp"
	"strings"
)

// Build is one build of a runtime.
type Build struct {
	Runtime string // runc or crun, or another's name
	// Release is the upstream version, candidates as 1.4.0~rc.3, so that they
	// sort before their release.
	Release string
	// Package is the distribution's version, such as 1.1.5+ds1-1+deb12u1, or
	// empty for a build that names none.
	Package string
	// Development means made from between two releases.
	Development bool
}

// String names the build as precisely as it is known.
func (b Build) String() string {
	version := strings.Replace(b.Release, "~", "-", 1)
	switch {
	case b.Package != "":
		version = b.Package
	case b.Development:
		version += " (development)"
	}
	return b.Runtime + " " + version
}

// release splits a version at the end of what upstream numbered.
var release = regexp.MustCompile(`^v?([0-9]+\.[0-9]+(?:\.[0-9]+)?)(?:[-~](rc\.?[0-9]+))?(.*)$`)

// distribution matches what Debian (+ds1-1, +dfsg1-2+deb12u1), Ubuntu
// (-0ubuntu1~22.04.2), Fedora, RHEL (.fc43, .el9) and Amazon (.amzn2) add.
var distribution = regexp.MustCompile(`[+.~-](ds|dfsg|deb|fc|el|amzn)[0-9]|[0-9]ubuntu[0-9]`)

// revised matches a Debian revision, without which it is no package version.
var revised = regexp.MustCompile(`-[0-9][0-9a-z.+~]*$`)

// Parse reads what `runc --version` or `crun --version` prints: the name and
// version on the first line, then `commit:`, where Debian puts the version of
// its package and others a git commit.
func Parse(text string) (Build, error) {
	first, rest, _ := strings.Cut(text, "\n")
	name, version, ok := strings.Cut(strings.TrimSpace(first), " version ")
	if !ok || strings.ContainsAny(name, " \t") {
		return Build{}, fmt.Errorf("read version of runtime: no name and version in %q", first)
	}
	commit := ""
	for line := range strings.Lines(rest) {
		if value, ok := strings.CutPrefix(line, "commit:"); ok {
			commit = strings.TrimSpace(value)
		}
	}
	return Component(name, version, commit)
}

// Component reads a component as a Docker daemon lists it (GET /version of
// the Docker Engine API): its name, Version and GitCommit. What the version
// does not hold of its distribution's, the commit may.
func Component(name, version, commit string) (Build, error) {
	parts := release.FindStringSubmatch(version)
	if parts == nil {
		return Build{}, fmt.Errorf("read version of %s: %q is none", name, version)
	}
	b := Build{Runtime: name, Release: parts[1]}
	if parts[2] != "" {
		b.Release += "~" + parts[2]
	}
	switch {
	case strings.HasPrefix(commit, parts[1]) && distribution.MatchString(commit):
		b.Package = withoutRebuild(commit)
	case distribution.MatchString(version) && revised.MatchString(version):
		b.Package = withoutRebuild(version)
	case distribution.MatchString(version):
		b.Package = version // as much of it as is said: no series matches
	case parts[3] != "":
		b.Development = true
	}
	return b, nil
}

// withoutRebuild drops what Debian adds when it compiles the same source
// again (+b4), which says nothing of patches.
func withoutRebuild(version string) string {
	return regexp.MustCompile(`\+b[0-9]+$`).ReplaceAllString(version, "")
}

// tilde writes the candidates of a release as Debian does.
func tilde(version string) string { return strings.Replace(version, "-rc", "~rc", 1) }

// branch is the first two numbers of a version.
func branch(version string) string {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return version
	}
	minor := strings.IndexFunc(parts[1], func(r rune) bool { return r < '0' || r > '9' })
	if minor >= 0 {
		parts[1] = parts[1][:minor]
	}
	return parts[0] + "." + parts[1]
}

// compare orders two versions as dpkg does (deb-version(7)): runs of other
// characters and runs of digits in turn, a tilde before everything, even the
// end. None here has an epoch, and the hyphen before a revision sorts as dpkg
// has it, since both sides have one in the same place.
func compare(a, b string) int {
	for a != "" || b != "" {
		for a != "" && !digit(a[0]) || b != "" && !digit(b[0]) {
			if d := order(a) - order(b); d != 0 {
				return sign(d)
			}
			a, b = a[1:], b[1:]
		}
		var x, y string
		x, a = number(a)
		y, b = number(b)
		if len(x) != len(y) {
			return sign(len(x) - len(y))
		}
		if d := strings.Compare(x, y); d != 0 {
			return d
		}
	}
	return 0
}

// order is the rank of what a version begins with: tilde, end or digit,
// letters, the rest.
func order(s string) int {
	switch {
	case s == "" || digit(s[0]):
		return 0
	case s[0] == '~':
		return -1
	case s[0] >= 'a' && s[0] <= 'z' || s[0] >= 'A' && s[0] <= 'Z':
		return int(s[0])
	}
	return int(s[0]) + 256
}

// number cuts the leading digits, without the zeros they begin with.
func number(s string) (digits, rest string) {
	end := 0
	for end < len(s) && digit(s[end]) {
		end++
	}
	return strings.TrimLeft(s[:end], "0"), s[end:]
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

func sign(d int) int {
	if d < 0 {
		return -1
	}
	return 1
}

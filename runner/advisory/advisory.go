// Package advisory says which published holes of an OCI runtime a build of it
// has, going by the version that the build states.
//
// It imports the standard library only, and never starts a process, reads a
// file or asks the network: what is known is the table in this package, each
// row with its source. It never calls a hole closed without one. A
// distribution patches old versions, so for its builds a third answer exists:
// that the version does not tell.
package advisory

import "strings"

// State is what a version tells of one hole.
type State string

// The states.
const (
	// Fixed: the release has the fix, or a source says that the package has.
	Fixed State = "fixed"
	// Open: the release is older than the fix, and so is the package.
	Open State = "open"
	// Unknown: a distribution's or a developer's build of a release older than
	// the fix, of which no source says whether it was patched.
	Unknown State = "unknown"
)

// Finding is what is known of one hole in one build.
type Finding struct {
	CVE   string
	About string // what an attacker needs and gets
	State State
	// FixedIn are the first releases with the fix, one for each branch that
	// has it, oldest first.
	FixedIn []string
	// Package is the first package version with the fix, where the build is a
	// distribution's and Source names one.
	Package, Source string
	// Unused says why creel does not reach the hole, or is empty.
	Unused string
	// Spared says what is known of a runtime without the hole, or is empty.
	Spared string
}

// Check gives what is known of a build, in the order the holes were
// published. Of a runtime other than runc and crun nothing is known.
func Check(b Build) []Finding {
	var findings []Finding
	for _, h := range holes {
		if h.runtime != b.Runtime || h.since != "" && compare(b.Release, h.since) < 0 {
			continue
		}
		finding := Finding{CVE: h.cve, About: h.about, FixedIn: h.fixedIn, Unused: h.unused, Spared: h.spared}
		h.judge(b, &finding)
		findings = append(findings, finding)
	}
	return findings
}

// judge decides by the release first: a package made from a fixed release has
// the fix, whoever made it.
func (h hole) judge(b Build, f *Finding) {
	f.State = Unknown
	switch {
	case b.Development:
		return
	case h.fixedBy(b.Release):
		f.State = Fixed
		return
	case b.Package == "":
		f.State = Open
		return
	}
	for _, p := range h.packages {
		if !strings.Contains(b.Package, p.series) {
			continue
		}
		f.Package, f.Source = p.fixed, p.source
		switch {
		case p.fixed != "" && compare(b.Package, p.fixed) >= 0:
			f.State = Fixed
		case p.fixed != "" || compare(b.Package, p.open) <= 0:
			f.State = Open
		}
		return
	}
}

// fixedBy compares with the fix of the release's own branch (the first two
// numbers of a version). A branch that began after the last one listed has
// the fix; an older one without an entry never got it.
func (h hole) fixedBy(release string) bool {
	last := ""
	for _, fixed := range h.fixedIn {
		fixed = tilde(fixed)
		if branch(fixed) == branch(release) {
			return compare(release, fixed) >= 0
		}
		last = fixed
	}
	return compare(branch(release), branch(last)) > 0
}

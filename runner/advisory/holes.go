package advisory

// hole is one published hole of a runtime.
type hole struct {
	cve, runtime, about string
	since               string // the first release that has it; empty: all
	fixedIn             []string
	packages            []packaged
	unused, spared      string
}

// packaged is what a source says of the packages whose version contains
// series. Those from fixed on have the fix, and those before it do not; with
// no fixed one known, those up to open do not and of later ones nothing is
// known.
type packaged struct {
	series, fixed, open string
	source              string
}

// beforeNovember2025 are packages that were published before the three holes
// of runc of November 2025 were, or of which Debian says that they have them.
// Sources: the package's own changelog, whose last entry (2024-02-02) fixes
// CVE-2024-21626 alone; Debian's security tracker, releases.trixie, as it was
// on 2026-09-05.
var beforeNovember2025 = []packaged{
	{series: "1.1.5+ds1-1", open: "1.1.5+ds1-1+deb12u1", source: "runc changelog.Debian of bookworm"},
	{series: "1.1.15+ds1-2", open: "1.1.15+ds1-2", source: "https://security-tracker.debian.org/tracker/source-package/runc"},
}

// novemberPackages adds what Ubuntu fixed with runc 1.3.3.
var novemberPackages = append([]packaged{
	{series: "ubuntu1~22.04", fixed: "1.3.3-0ubuntu1~22.04.2", source: "USN-7851-1"},
	{series: "ubuntu1~24.04", fixed: "1.3.3-0ubuntu1~24.04.2", source: "USN-7851-1"},
}, beforeNovember2025...)

var novemberReleases = []string{"1.2.8", "1.3.3", "1.4.0-rc.3"}

// novemberSpared is the word of crun's maintainer: "crun does not seem to be
// affected, we tried the reproducers and they don't work with crun".
const novemberSpared = "crun does not seem to have it (containers/crun#1906)"

// holes are in the order they were published.
//
// crun has none of runc's: it was fixed for CVE-2019-5736 like runc
// (containers/crun#615, without a version), "is not affected directly" by
// CVE-2024-21626 (its NEWS, 1.14.1), and by its maintainer's word not by the
// three of November 2025 (containers/crun#1906). Of CVE-2026-41579 and crun
// no source was found.
var holes = []hole{
	{
		// https://github.com/opencontainers/runc/issues/1985: fixed after rc6.
		cve: "CVE-2019-5736", runtime: "runc", fixedIn: []string{"1.0.0-rc7"},
		about: "a container that root starts can overwrite runc itself, through /proc/self/exe",
	},
	{
		// https://github.com/opencontainers/runc/security/advisories/GHSA-xr7r-f8xq-vfvm
		cve: "CVE-2024-21626", runtime: "runc", since: "1.0.0~rc93", fixedIn: []string{"1.1.12"},
		spared: "crun is not affected directly (its NEWS, 1.14.1)",
		about:  "a working directory below a descriptor that runc left open is one of the host's",
		packages: []packaged{
			{series: "1.1.5+ds1-1", fixed: "1.1.5+ds1-1+deb12u1", source: "DSA-5615-1"},
			{series: "1.0.0~rc93+ds1-5", fixed: "1.0.0~rc93+ds1-5+deb11u3", source: "DSA-5615-1"},
			{series: "ubuntu1~20.04", fixed: "1.1.7-0ubuntu1~20.04.2", source: "USN-6619-1"},
			{series: "ubuntu1~22.04", fixed: "1.1.7-0ubuntu1~22.04.2", source: "USN-6619-1"},
		},
	},
	{
		// https://github.com/opencontainers/runc/security/advisories/GHSA-9493-h29p-rfm2
		cve: "CVE-2025-31133", runtime: "runc", fixedIn: novemberReleases, packages: novemberPackages, spared: novemberSpared,
		about: "a /dev/null swapped for a link while paths are masked opens files of /proc for writing",
	},
	{
		// https://github.com/opencontainers/runc/security/advisories/GHSA-qw9x-cqr3-wc7r
		cve: "CVE-2025-52565", runtime: "runc", since: "1.0.0~rc3", fixedIn: novemberReleases, packages: novemberPackages, spared: novemberSpared,
		about: "a /dev/pts entry swapped for a link while /dev/console is mounted opens files of /proc for writing",
	},
	{
		// https://github.com/opencontainers/runc/security/advisories/GHSA-cgrx-mc8f-2prm
		cve: "CVE-2025-52881", runtime: "runc", fixedIn: novemberReleases, packages: novemberPackages, spared: novemberSpared,
		about: "what runc writes to /proc, labels of AppArmor and SELinux among it, can be led elsewhere",
	},
	{
		// https://github.com/opencontainers/runc/security/advisories/GHSA-xjvp-4fhw-gc47
		cve: "CVE-2026-41579", runtime: "runc", fixedIn: []string{"1.3.6", "1.4.3", "1.5.0-rc.3"}, packages: beforeNovember2025,
		about: "an image whose /dev is a link has runc write to the host, to little effect (upstream: low)",
	},
	{
		// NEWS of crun 1.4.4.
		cve: "CVE-2022-27650", runtime: "crun", fixedIn: []string{"1.4.4"},
		about: "crun exec gives inheritable capabilities", unused: "creel never runs crun exec",
	},
	{
		// https://github.com/containers/crun/security/advisories/GHSA-f42g-r5jj-qh4j
		cve: "CVE-2025-24965", runtime: "crun", fixedIn: []string{"1.20"},
		about: "an image can have the krun handler write to the host", unused: "creel never asks for a handler",
	},
	{
		// https://www.cve.org/CVERecord?id=CVE-2026-30892
		cve: "CVE-2026-30892", runtime: "crun", since: "1.19", fixedIn: []string{"1.27"},
		about: "crun exec --user 1 runs as root", unused: "creel never runs crun exec",
	},
}

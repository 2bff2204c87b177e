package policy

import (
	"path"
	"strings"
)

// pathText is an absolute path without empty, "." or ".." elements and
// without a slash at its end, except for "/" itself.
var pathText = matching(`^/.*$`)

// The longest path and path element in bytes (PATH_MAX counts its NUL;
// path_resolution(7)).
const (
	longestPath    = 4095
	longestElement = 255
)

// absolute reads an absolute, lexically clean path and then asks each check.
func absolute(what string, checks ...func(string) *fault) scalar[string] {
	return scalar[string]{
		what:    what,
		pattern: pathText,
		hint:    "write the whole path, starting with /",
		parse: func(text string) (string, *fault) {
			if f := unclean(text); f != nil {
				return "", f
			}
			for _, check := range checks {
				if f := check(text); f != nil {
					return "", f
				}
			}
			return text, nil
		},
		format: show[string],
		shape:  schema{Not: &schema{Pattern: `//|/$|/\.\.?(/|$)`}},
	}
}

func unclean(text string) *fault {
	for _, name := range strings.Split(text, "/") {
		switch {
		case name == "..":
			return faultf("write the path it means", `the path %s has a ".." in it`, quote(text))
		case len(name) > longestElement:
			return faultf("shorten it", "the path has an element of %d bytes, more than the %d a file system takes", len(name), longestElement)
		}
	}
	switch clean := path.Clean(text); {
	case strings.ContainsAny(text, "\n\t"):
		return faultf("rename the directory", "the path %s has a line break or tab in it", quote(text))
	case clean != text:
		return faultf("write "+clean, "the path %s is not in its shortest form", quote(text))
	case len(text) > longestPath:
		return faultf("shorten it", "the path has %d bytes, more than the %d the kernel takes", len(text), longestPath)
	}
	return nil
}

// within reports whether a path is a directory or lies under it.
func within(p, dir string) bool {
	return p == dir || dir == "/" || strings.HasPrefix(p, dir) && p[len(dir)] == '/'
}

// related reports whether one of two paths contains the other.
func related(a, b string) bool { return within(a, b) || within(b, a) }

// guarded is a part of the host that no policy may show to a sandbox. A
// parent of it is refused as well, because it shows it too.
type guarded struct {
	dir string
	why string
	// alone means that the directory itself is guarded but what lies deeper
	// may be named.
	alone bool
}

// guardedSources is read from top to bottom; the first row that matches
// explains the refusal.
var guardedSources = []guarded{
	{dir: "/etc", why: "the host's configuration and password hashes"},
	{dir: "/root", why: "the administrator's home"},
	{dir: "/proc", why: "the host's processes and kernel settings"},
	{dir: "/sys", why: "the host's devices and cgroups"},
	{dir: "/dev", why: "the host's devices"},
	{dir: "/run", why: "sockets of the host's services: Docker, containerd, podman, D-Bus, creel"},
	{dir: "/var/run", why: "sockets of the host's services, as /run"},
	{dir: "/var/lock", why: "the same as /run/lock"},
	{dir: "/boot", why: "the host's kernel"},
	{dir: "/usr", why: "the host's programs; root: {host: true} shows them read-only"},
	{dir: "/bin", why: "the host's programs"},
	{dir: "/sbin", why: "the host's programs"},
	{dir: "/lib", why: "the host's libraries"},
	{dir: "/lib32", why: "the host's libraries"},
	{dir: "/lib64", why: "the host's libraries"},
	{dir: "/libx32", why: "the host's libraries"},
	{dir: "/var/lib/docker", why: "Docker's containers and images"},
	{dir: "/var/lib/containerd", why: "containerd's containers and images"},
	{dir: "/var/lib/containers", why: "podman's containers and images"},
	{dir: "/var/lib/kubelet", why: "Kubernetes' secrets and volumes"},
	{dir: "/var/lib/systemd", why: "systemd's state and credential key"},
	{dir: "/var/lib/private", why: "the state of other services"},
	{dir: "/var/lib/creel", why: "creel's own state"},
	{dir: "/var/log/creel", why: "creel's own audit"},
	{dir: "/var/log/journal", why: "the host's journal"},
	{dir: "/var/snap", why: "the state of snaps, Docker's among them"},
	{dir: "/var/spool/cron", why: "commands that cron runs outside any sandbox"},
	{dir: "/var/spool/at", why: "commands that at runs outside any sandbox"},
	{dir: "/home", why: "the homes of all users", alone: true},
	{dir: "/var/lib", why: "the state of all services", alone: true},
	{dir: "/tmp", why: "the temporary files of all users", alone: true},
	{dir: "/var/tmp", why: "the temporary files of all users", alone: true},
}

// keyRings are directories whose very purpose is to hold secrets, wherever
// they are.
var keyRings = []string{".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".password-store"}

// dangerousSource refuses host paths that would hand the host to a sandbox.
func dangerousSource(source string) *fault {
	const hint = "make a directory for the sandbox alone, such as /srv/NAME, and name that"
	if source == "/" {
		return faultf(hint, "the path / is the whole host")
	}
	for _, g := range guardedSources {
		switch {
		case source == g.dir:
			return faultf(hint, "%s is off limits: %s", g.dir, g.why)
		case within(source, g.dir) && !g.alone:
			return faultf(hint, "the path %s is in %s: %s", quote(source), g.dir, g.why)
		case within(g.dir, source):
			return faultf(hint, "the path %s contains %s: %s", quote(source), g.dir, g.why)
		}
	}
	for _, name := range strings.Split(source[1:], "/") {
		for _, ring := range keyRings {
			if name == ring {
				return faultf("declare the one secret that is needed under credentials", "the path %s is in a %s directory, where keys are kept", quote(source), ring)
			}
		}
	}
	if strings.HasSuffix(source, ".sock") || strings.HasSuffix(source, ".socket") {
		return faultf("the gateway under network is the one thing a sandbox may reach", "the path %s is a socket: a way out of the sandbox", quote(source))
	}
	return nil
}

// reservedTargets are the places that creel itself fills in every sandbox.
var reservedTargets = []string{
	"/proc", "/dev", "/sys", "/tmp", "/usr", "/bin", "/sbin", "/etc",
	"/lib", "/lib32", "/lib64", "/libx32", "/.creel",
}

func reservedTarget(target string) *fault {
	const hint = "choose a directory of its own, such as /workspace or /data"
	if target == "/" {
		return faultf(hint, "the target / is the root itself, which is read-only")
	}
	for _, dir := range reservedTargets {
		switch {
		case target == dir:
			return faultf(hint, "creel fills %s itself", dir)
		case within(target, dir):
			return faultf(hint, "the target %s is in %s, which creel fills itself", quote(target), dir)
		}
	}
	return nil
}

// kernelWorkdir refuses working directories in the kernel's file systems: a
// cwd in /proc was the way out in CVE-2024-21626.
func kernelWorkdir(dir string) *fault {
	for _, kernel := range []string{"/proc", "/sys", "/dev", "/.creel"} {
		if within(dir, kernel) {
			return faultf("choose the target of a mount", "a command may not start in %s", kernel)
		}
	}
	return nil
}

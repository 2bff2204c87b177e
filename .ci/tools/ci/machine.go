package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Tests leave the machine as they found it. Each makes sure of its own part;
// what all of them together left, or one of them changed behind the others'
// backs, shows when the machine is looked at before a step and after it.

// machine is what tests could leave or change: for each kind of thing, what
// there is.
type machine map[string][]string

// names are what tests call theirs: creel's own, and its engines'.
var names = []string{"creel", "docker"}

// programs are what tests start and must end.
var programs = []string{"creel", "creeld", "creel-init", "creel-image", "creel-check", "creel-verify", "crun", "runc", "bwrap",
	"dockerd", "containerd", "vault", "bao", "qemu-system-x86", "openclaw"}

// settings are what engines, and careless tests, change on a host
// (sysctl(8)).
var settings = []string{"kernel/core_pattern", "kernel/core_uses_pid", "kernel/yama/ptrace_scope", "kernel/dmesg_restrict", "kernel/io_uring_disabled",
	"kernel/unprivileged_userns_clone", "kernel/keys/root_maxkeys", "kernel/panic_on_oops", "fs/suid_dumpable", "fs/inotify/max_user_instances",
	"fs/inotify/max_user_watches", "fs/protected_symlinks", "fs/protected_hardlinks", "user/max_user_namespaces", "user/max_net_namespaces", "vm/overcommit_memory",
	"vm/swappiness", "net/ipv4/ip_forward", "net/ipv4/conf/all/forwarding", "net/ipv4/conf/all/route_localnet", "net/ipv6/conf/all/forwarding",
	"net/ipv4/ip_unprivileged_port_start", "net/ipv4/ping_group_range", "net/bridge/bridge-nf-call-iptables"}

// lookAtMachine sees what there is now. What cannot be read is not there.
func lookAtMachine() machine {
	m := machine{}
	for line := range strings.Lines(readFile("/proc/self/mountinfo")) {
		if fields := strings.Fields(line); len(fields) > 4 {
			m.add("mount", fields[4])
		}
	}
	_ = filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && named(path) {
			m.add("control group", path)
		}
		return nil
	})
	interfaces, _ := os.ReadDir("/sys/class/net")
	for _, entry := range interfaces {
		m.add("network interface", entry.Name())
	}
	processes, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range processes {
		// pid (name) …
		before, after, _ := strings.Cut(readFile(file), "(")
		if name, _, _ := strings.Cut(after, ")"); slices.Contains(programs, name) {
			m.add("process", before+name)
		}
	}
	for _, name := range settings {
		m.add("setting", name+" = "+strings.TrimSpace(readFile("/proc/sys/"+name)))
	}
	for _, pattern := range []string{"/tmp/creel-*", "/var/tmp/creel-*", "/run/creel*", "/dev/shm/creel*", "/run/netns/*", "/run/docker*"} {
		found, _ := filepath.Glob(pattern)
		m["file"] = append(m["file"], found...)
	}
	for _, path := range []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/urandom", "/dev/tty", "/tmp", "/run", "/etc/passwd", "/etc/resolv.conf"} {
		if info, err := os.Stat(path); err == nil {
			owner := info.Sys().(*syscall.Stat_t)
			m.add("file", fmt.Sprintf("%s %v %d:%d", path, info.Mode(), owner.Uid, owner.Gid))
		}
	}
	return m
}

func (m machine) add(kind, what string) { m[kind] = append(m[kind], what) }

func named(path string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return strings.Contains(path, name) })
}

// lastBreath is how long what was ended may take to be gone.
const lastBreath = 10 * time.Second

// changedSince is what is still otherwise after a while.
func changedSince(before machine) (changes []string) {
	for deadline := time.Now().Add(lastBreath); ; time.Sleep(lastBreath / 50) {
		changes = lookAtMachine().changes(before)
		if len(changes) == 0 || time.Now().After(deadline) {
			return changes
		}
	}
}

// changes are what there was not before, and what there is no more.
func (m machine) changes(before machine) []string {
	var all []string
	for kind, list := range m {
		for _, what := range excess(list, before[kind]) {
			all = append(all, fmt.Sprintf("%s, new: %s", kind, what))
		}
	}
	for kind, list := range before {
		for _, what := range excess(list, m[kind]) {
			all = append(all, fmt.Sprintf("%s, gone: %s", kind, what))
		}
	}
	slices.Sort(all)
	return all
}

// excess is what one list has more of than the other: two mounts can be in
// one place.
func excess(list, than []string) []string {
	count := map[string]int{}
	for _, what := range than {
		count[what]++
	}
	var more []string
	for _, what := range list {
		if count[what]--; count[what] < 0 {
			more = append(more, what)
		}
	}
	return more
}

func readFile(path string) string {
	data, _ := os.ReadFile(path)
	return string(data)
}

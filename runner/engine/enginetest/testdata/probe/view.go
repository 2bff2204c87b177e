package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// view prints everything of its surroundings that a process is given.
func view(dirs []string) {
	env := os.Environ()
	slices.Sort(env)
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		say("env "+name, value)
	}
	mask := unix.Umask(0)
	unix.Umask(mask)
	say("umask", fmt.Sprintf("%04o", mask))
	host, _ := os.Hostname()
	say("hostname", host)
	groups, err := unix.Getgroups()
	say("groups", fmt.Sprint(groups, " ", outcome(err)))
	_, err = unix.Open("/dev/tty", unix.O_RDWR|unix.O_CLOEXEC, 0)
	report("controlling terminal", err)
	cwd, _ := os.Getwd()
	say("cwd", cwd)
	say("argv", strings.Join(os.Args, " "))
	viewLimits()
	viewDescriptors()
	for _, key := range []string{
		"Pid", "PPid", "NSsid", "NSpgid", "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs",
		"Seccomp", "Seccomp_filters", "SigBlk", "SigIgn", "ShdPnd", "CoreDumping", "Cpus_allowed",
	} {
		say("status "+key, statusOf("self", key))
	}
	for _, dir := range dirs {
		viewTree(dir)
	}
}

func viewLimits() {
	data, _ := os.ReadFile("/proc/self/limits")
	for line := range strings.Lines(string(data)) {
		if len(line) > 66 && !strings.HasPrefix(line, "Limit") {
			say("limit "+strings.TrimSpace(line[:26]), strings.Join(strings.Fields(line[26:66]), " "))
		}
	}
}

// viewDescriptors lists what was open before this program opened anything.
func viewDescriptors() {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		report("descriptors", err)
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		target, _ := os.Readlink("/proc/self/fd/" + name)
		if name == strconv.Itoa(int(dir.Fd())) || strings.HasPrefix(target, "anon_inode:[event") {
			continue // this directory, and the Go runtime's poller
		}
		kind, _, _ := strings.Cut(target, ":")
		say("fd "+name, kind)
	}
}

// viewTree lists a tree: everything below a directory written DIR/..., else
// the directory's own entries.
func viewTree(dir string) {
	root, deep := strings.CutSuffix(dir, "/...")
	filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			report("entry "+path, err)
			return nil
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			report("entry "+path, err)
			return nil
		}
		value := fmt.Sprintf("%s %d:%d", entry.Type().String()[:1], st.Uid, st.Gid)
		if info, err := entry.Info(); err == nil {
			value = fmt.Sprintf("%s %d:%d", info.Mode(), st.Uid, st.Gid)
		}
		if st.Mode&unix.S_IFMT == unix.S_IFLNK {
			link, _ := os.Readlink(path)
			value = "-> " + link
		}
		if st.Mode&unix.S_IFMT == unix.S_IFCHR {
			value += fmt.Sprintf(" %d,%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		}
		say("entry "+path, value)
		if entry.IsDir() && path != root && !deep {
			return fs.SkipDir
		}
		return nil
	})
}

// mountinfo prints each mount as its kernel options, without what differs
// from run to run: numbers, and the names of sources.
func mountinfo([]string) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		report("mountinfo", err)
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		dash := slices.Index(fields, "-")
		say(fields[4], fields[5]+" "+fields[dash+1])
	}
}

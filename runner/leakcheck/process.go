package leakcheck

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The places that processes show.
const (
	environments  = "environment of processes"
	arguments     = "arguments of processes"
	namesOfFiles  = "names of open files"
	namelessFiles = "open files without a name"
	mappedFiles   = "files mapped to be written"
	swapped       = "swap"
)

// process is one that a finding names. The zero process is nobody.
type process struct {
	name  string
	space string // its PID namespace, as the kernel names it; empty, it is gone
}

func processOf(pid int) process { return processIn(pid, "") }

// processIn is processOf for one that was in a namespace a moment ago, and may
// have ended since.
func processIn(pid int, before string) process {
	p := process{name: fmt.Sprintf("process %d, gone", pid), space: cmp.Or(pidNamespace(pid), before)}
	if comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil {
		p.name = fmt.Sprintf("process %d, %s", pid, strings.TrimSpace(string(comm)))
	}
	return p
}

func pidNamespace(pid int) string {
	name, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	if err != nil {
		return ""
	}
	return name
}

// processes are all that the host has, and what they may hold.
type processes struct {
	notes  *notes
	sought *sought
	// supervisor and hold are those of creeld and of the control.
	supervisor, hold int
	// init is PID 1 of the sandbox, and space its PID namespace.
	init  int
	space string
	// holders are the processes of the command that have the canary in their
	// environment, as they should.
	holders int
}

// pids lists all processes, by /proc.
func pids() ([]int, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	var all []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			all = append(all, pid)
		}
	}
	return all, nil
}

// expect names the controls of each place.
func (p *processes) expect(controls ...string) {
	p.notes.expect(environments, "processes", controls...)
	p.notes.expect(arguments, "processes", controls...)
	p.notes.expect(namesOfFiles, "descriptors", controls...)
	p.notes.expect(namelessFiles, "files", controls...)
	p.notes.expect(mappedFiles, "files", controls...)
}

// look searches what every process shows of itself, once.
func (p *processes) look(control string) {
	all, err := pids()
	if err != nil {
		p.notes.problem(environments, "list processes: %v", err)
		return
	}
	for _, pid := range all {
		space := pidNamespace(pid)
		p.file(pid, space, "environ", environments, control)
		p.file(pid, space, "cmdline", arguments, control)
	}
}

// file searches one file of proc(5). A process that ends once it was read is
// known by the namespace that it was in before.
func (p *processes) file(pid int, space, name, place, control string) {
	path := fmt.Sprintf("/proc/%d/%s", pid, name)
	if p.notes.leftOut(path) {
		return
	}
	data, err := os.ReadFile(path)
	if err != nil {
		if !gone(err) {
			p.notes.problem(place, "read %s of process %d: %v", name, pid, err)
		}
		return
	}
	p.notes.searched(place, 1)
	found := p.sought.in(data)
	if found.control && pid == p.hold {
		p.notes.found(place, control)
	}
	if len(found.hits) == 0 {
		return
	}
	by := processIn(pid, space)
	switch {
	case place == environments && p.space == "":
		// The check was ended before it could ask.
		p.notes.problem(place, "%s has the canary, and it is not known whether it is the command", by.name)
		return
	case place == environments && p.ofCommand(pid, by.space):
		p.holders++
		return
	}
	p.notes.leak(place, path, by, found)
}

// ofCommand reports whether a process of a PID namespace is one that the command
// is or has started: one in the sandbox, but not creel-init.
func (p *processes) ofCommand(pid int, space string) bool {
	return p.space != "" && space == p.space && pid != p.init
}

// enter says which sandbox is the command's.
func (p *processes) enter(init int) error {
	p.init, p.space = init, pidNamespace(init)
	if p.space == "" {
		return fmt.Errorf("find sandbox: its process %d is gone", init)
	}
	return nil
}

// lookAtFiles searches what processes have open and mapped.
func (p *processes) lookAtFiles(control string) {
	all, err := pids()
	if err != nil {
		p.notes.problem(namesOfFiles, "list processes: %v", err)
		return
	}
	searched := map[identity]bool{}
	for _, pid := range all {
		if p.notes.leftOut(fmt.Sprintf("/proc/%d/fd", pid)) {
			continue
		}
		fds, err := readNames(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil && !gone(err) {
			p.notes.problem(namelessFiles, "list descriptors of process %d: %v", pid, err)
		}
		for _, fd := range fds {
			p.descriptor(pid, fmt.Sprintf("/proc/%d/fd/%s", pid, fd), control, searched)
		}
		areas, err := sharedAndWritable(pid)
		if err != nil && !gone(err) {
			p.notes.problem(mappedFiles, "list mappings of process %d: %v", pid, err)
		}
		for area, name := range areas {
			p.content(pid, fmt.Sprintf("/proc/%d/map_files/%s", pid, area), name, mappedFiles, control, searched)
		}
	}
}

func readNames(dir string) ([]string, error) {
	opened, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	return opened.Readdirnames(-1)
}

// descriptor searches the name of one open file, and its bytes where a walk
// would not find them because it has none any more.
func (p *processes) descriptor(pid int, path, control string, searched map[identity]bool) {
	name, err := os.Readlink(path)
	if err != nil {
		return // it has been closed, or the process is gone
	}
	found := p.sought.in([]byte(name))
	if len(found.hits) > 0 {
		p.notes.leak(namesOfFiles, path, processOf(pid), found)
	}
	p.notes.searched(namesOfFiles, 1)
	if found.control && pid == p.hold {
		p.notes.found(namesOfFiles, control)
	}
	if strings.HasPrefix(name, "/memfd:") || strings.HasSuffix(name, " (deleted)") {
		p.content(pid, path, name, namelessFiles, control, searched)
	}
}

// content searches a regular file, once: another is not even opened.
func (p *processes) content(pid int, path, name, place, control string, searched map[identity]bool) {
	if p.notes.leftOut(name) {
		return
	}
	at, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return // it has been closed, or the process is gone
	}
	defer unix.Close(at)
	id, st, err := identify(at)
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || searched[id] {
		return
	}
	searched[id] = true
	file, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", at), os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOATIME, 0)
	if err != nil {
		p.notes.problem(place, "open %s: %v", path, err)
		return
	}
	defer file.Close()
	found, err := p.sought.file(file, maxFile)
	p.notes.searched(place, 1)
	if len(found.hits) > 0 {
		p.notes.leak(place, path+" → "+name, processOf(pid), found)
	}
	if found.control && pid == p.hold {
		p.notes.found(place, control)
	}
	if err != nil {
		p.notes.problem(place, "%s → %s: %v; --except leaves it out", path, name, err)
	}
}

// sharedAndWritable are the areas of a process's memory by which it writes to
// files, with the names of those: what is written so, fanotify(7) does not see.
func sharedAndWritable(pid int) (map[string]string, error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, err
	}
	areas := map[string]string{}
	for line := range strings.Lines(string(maps)) {
		// 7f12-7f34 rw-s 00000000 08:02 135522    /usr/bin/dbus-daemon (proc(5))
		fields := strings.Fields(line)
		if len(fields) < 6 || !strings.HasPrefix(fields[1], "rw") || !strings.HasSuffix(fields[1], "s") {
			continue
		}
		name := strings.Join(fields[5:], " ")
		device := strings.HasPrefix(name, "/dev/") && !strings.HasPrefix(name, "/dev/shm/")
		if strings.HasPrefix(name, "/") && !device && !strings.HasPrefix(name, "/SYSV") {
			areas[fields[0]] = name
		}
	}
	return areas, nil
}

// lookAtSwap asks whether anything of those who have held the canary is in
// swap, which cannot be searched.
func (p *processes) lookAtSwap() {
	const swaps = "/proc/swaps"
	p.notes.expect(swapped, "processes that held the canary, none of them swapped out")
	data, err := os.ReadFile(swaps)
	switch {
	case errors.Is(err, os.ErrNotExist):
		p.notes.absent(swapped, "the kernel has none")
		return
	case err != nil:
		p.notes.problem(swapped, "%v", err)
		return
	case strings.Count(strings.TrimSpace(string(data)), "\n") == 0:
		p.notes.absent(swapped, "none is on")
		return
	}
	all, err := pids()
	if err != nil {
		p.notes.problem(swapped, "list processes: %v", err)
	}
	for _, pid := range all {
		if pid != p.supervisor && pid != p.init && pid != os.Getpid() && !p.ofCommand(pid, pidNamespace(pid)) {
			continue
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue // it has ended
		}
		p.notes.searched(swapped, 1)
		_, rest, ok := strings.Cut(string(status), "\nVmSwap:")
		amount, _, _ := strings.Cut(rest, "\n")
		if ok && strings.TrimSpace(amount) != "0 kB" {
			p.notes.problem(swapped, "%s has %s there, which cannot be searched", processOf(pid).name, strings.TrimSpace(amount))
		}
	}
}

package posture

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/kernelfile"
)

// readProcess reads one process, whose init has the namespaces given.
func readProcess(pid int, namespaces map[string]string) (Process, error) {
	p := Process{Pid: pid}
	dir, err := openProcess(pid)
	if err != nil {
		return p, fmt.Errorf("read process %d: %w", pid, err)
	}
	defer unix.Close(dir)
	for _, read := range []func(dir int) error{
		p.readThreads,
		p.readLimits,
		p.readOOMScoreAdj,
		p.readIdentity,
		p.readFDs,
		func(dir int) error { return p.readNamespaces(dir, namespaces) },
	} {
		if err := read(dir); err != nil {
			return p, fmt.Errorf("read process %d: %w", pid, err)
		}
	}
	return p, nil
}

func (p *Process) readThreads(dir int) error {
	tasks, err := kernelfile.Names(dir, "task")
	if err != nil {
		return fmt.Errorf("list threads: %w", err)
	}
	for i, task := range tasks {
		text, err := kernelfile.Read(dir, "task/"+task+"/status")
		if err != nil {
			return fmt.Errorf("read status: %w", err)
		}
		thread, err := parseStatus(text)
		if err != nil {
			return fmt.Errorf("parse status: %w", err)
		}
		leader := task == strconv.Itoa(p.Pid)
		if i == 0 {
			thread.Pid = p.Pid
			*p = thread
		} else {
			p.addThread(thread)
		}
		if leader { // wherever it is listed
			p.NSPid = thread.NSPid
		}
	}
	return nil
}

// addThread folds another thread into the process, keeping the weakest of
// what is found.
func (p *Process) addThread(t Process) {
	p.NoNewPrivs = p.NoNewPrivs && t.NoNewPrivs
	p.Seccomp, p.Filters = min(p.Seccomp, t.Seccomp), min(p.Filters, t.Filters)
	p.Capabilities = union(p.Capabilities, t.Capabilities)
	p.Groups = union(p.Groups, t.Groups)
	// Threads whose ids differ show more than four of them.
	if !slices.Equal(p.UIDs, t.UIDs) {
		p.UIDs = append(p.UIDs, t.UIDs...)
	}
	if !slices.Equal(p.GIDs, t.GIDs) {
		p.GIDs = append(p.GIDs, t.GIDs...)
	}
}

func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// statusKeys are the lines of a status that are read.
var statusKeys = []string{"NSpid", "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb",
	"NoNewPrivs", "Seccomp", "Seccomp_filters"}

// parseStatus reads the status of one thread (proc(5)). A line that a kernel
// without the feature leaves out is an error: what is not told is not in force.
func parseStatus(text string) (Process, error) {
	fields := make(map[string]string, len(statusKeys))
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		if slices.Contains(statusKeys, key) {
			fields[key] = strings.TrimSpace(value)
		}
	}
	var p Process
	for _, key := range statusKeys {
		value, ok := fields[key]
		if !ok || value == "" && key != "Groups" {
			return p, fmt.Errorf("no %s: %w", key, unix.ENOTSUP)
		}
		if strings.HasPrefix(key, "Cap") && strings.Trim(value, "0") != "" {
			p.Capabilities = append(p.Capabilities, key+"="+value)
		}
	}
	p.UIDs, p.GIDs = strings.Fields(fields["Uid"]), strings.Fields(fields["Gid"])
	p.Groups = strings.Fields(fields["Groups"])
	slices.Sort(p.Groups)
	p.NoNewPrivs = fields["NoNewPrivs"] == "1"
	pids := strings.Fields(fields["NSpid"])
	for _, n := range []struct {
		text string
		into *int
	}{
		{pids[len(pids)-1], &p.NSPid}, {fields["Seccomp"], &p.Seccomp}, {fields["Seccomp_filters"], &p.Filters},
	} {
		var err error
		if *n.into, err = strconv.Atoi(n.text); err != nil {
			return p, err
		}
	}
	if len(p.UIDs) != 4 || len(p.GIDs) != 4 {
		return p, fmt.Errorf("no four ids: %w", unix.EINVAL)
	}
	return p, nil
}

func (p *Process) readLimits(dir int) error {
	text, err := kernelfile.Read(dir, "limits")
	if err != nil {
		return fmt.Errorf("read limits: %w", err)
	}
	p.Limits = parseLimits(text)
	return nil
}

// limitColumn is where the values of /proc/PID/limits begin; names have
// blanks in them.
const limitColumn = 26

func parseLimits(text string) map[string]string {
	limits := map[string]string{}
	for line := range strings.Lines(text) {
		if len(line) < limitColumn {
			continue
		}
		if values := strings.Fields(line[limitColumn:]); len(values) >= 2 && strings.HasPrefix(line, "Max ") {
			limits[strings.TrimSpace(line[:limitColumn])] = values[0] + " " + values[1]
		}
	}
	return limits
}

func (p *Process) readOOMScoreAdj(dir int) error {
	text, err := kernelfile.Read(dir, "oom_score_adj")
	if err != nil {
		return err
	}
	p.OOMScoreAdj, err = strconv.Atoi(strings.TrimSpace(text))
	return err
}

func (p *Process) readIdentity(dir int) error {
	var environ, exe, root, cwd unix.Stat_t
	for _, file := range []struct {
		name string
		into *unix.Stat_t
	}{{"environ", &environ}, {"exe", &exe}, {"root", &root}, {"cwd", &cwd}} {
		if err := unix.Fstatat(dir, file.name, file.into, 0); err != nil {
			return fmt.Errorf("stat %s: %w", file.name, err)
		}
	}
	// The files in a dumpable process's /proc directory belong to its own
	// uid, those of any other to root (proc(5)).
	p.Dumpable = strconv.Itoa(int(environ.Uid)) == p.UIDs[1]
	p.Exe = File{exe.Dev, exe.Ino}
	// A working directory outside would be a way out (CVE-2024-21626).
	p.AtRoot = cwd.Dev == root.Dev && cwd.Ino == root.Ino
	return nil
}

func (p *Process) readNamespaces(dir int, inits map[string]string) error {
	own, err := namespacesOf(dir, "")
	if err != nil {
		return err
	}
	for _, kind := range namespaceTypes {
		if own[kind] != inits[kind] {
			p.Elsewhere = append(p.Elsewhere, kind)
		}
	}
	return nil
}

// maxFDs and maxTarget bound what is kept of one process's descriptors, and of
// what each refers to in bytes. Both are a running command's to choose, and
// must not keep an operator from looking at it. Far fewer wait before it runs.
const (
	maxFDs    = 32
	maxTarget = 128
)

func (p *Process) readFDs(dir int) error {
	names, err := kernelfile.Names(dir, "fd")
	if err != nil {
		return fmt.Errorf("list descriptors: %w", err)
	}
	for _, name := range names {
		if len(p.FDs) == maxFDs {
			p.FDs = append(p.FDs, FD{Number: -1, Target: fmt.Sprintf("of %d in all, not listed", len(names))})
			break
		}
		number, err := strconv.Atoi(name)
		if err != nil {
			return fmt.Errorf("parse descriptor: %w", err)
		}
		var st unix.Stat_t
		target, err := kernelfile.Link(dir, "fd/"+name)
		if errors.Is(err, unix.ENAMETOOLONG) { // longer than a page
			target, err = "a path too long to tell", nil
		}
		if err == nil {
			err = unix.Fstatat(dir, "fd/"+name, &st, 0)
		}
		if errors.Is(err, unix.ENOENT) {
			continue // closed since it was listed
		}
		if err != nil {
			return fmt.Errorf("read descriptor: %w", err)
		}
		p.FDs = append(p.FDs, FD{number, target[:min(len(target), maxTarget)], st.Rdev})
	}
	return nil
}

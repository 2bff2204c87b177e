package posture

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/cgroup"
)

// namespaceTypes are the files of /proc/PID/ns that a sandbox is held to.
var namespaceTypes = []string{"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"}

// Read reads the posture of the sandbox id, whose init has the host pid.
// The init must not be reaped meanwhile, or the number could be another's.
func Read(init int, h *cgroup.Hierarchy, id string) (*Posture, error) {
	p := &Posture{Namespaces: map[string]string{}}
	pids, err := h.Procs(id)
	if err != nil {
		return nil, fmt.Errorf("read processes: %w", err)
	}
	slices.SortFunc(pids, func(a, b int) int { return order(a, init) - order(b, init) })
	for _, pid := range pids {
		process, err := readProcess(pid)
		if err != nil {
			return nil, err
		}
		p.Processes = append(p.Processes, process)
	}
	if err := p.readNamespaces(init); err != nil {
		return nil, err
	}
	if p.Mounts, err = readMounts(init); err != nil {
		return nil, err
	}
	if p.Cgroups, err = readCgroups(init); err != nil {
		return nil, err
	}
	if p.Limits, err = h.Limits(id); err != nil {
		return nil, err
	}
	return p, nil
}

// order sorts init before everything else.
func order(pid, init int) int {
	if pid == init {
		return 0
	}
	return 1
}

func procFile(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}

func (p *Posture) readNamespaces(pid int) error {
	for _, kind := range namespaceTypes {
		theirs, err := os.Readlink(procFile(pid, "ns/"+kind))
		if err != nil {
			return fmt.Errorf("read namespace: %w", err)
		}
		ours, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			return fmt.Errorf("read own namespace: %w", err)
		}
		p.Namespaces[kind] = theirs
		if theirs == ours {
			p.SharedNamespaces = append(p.SharedNamespaces, kind)
		}
	}
	for _, m := range []struct {
		name string
		into *string
	}{{"uid_map", &p.UIDMap}, {"gid_map", &p.GIDMap}} {
		data, err := os.ReadFile(procFile(pid, m.name))
		if err != nil {
			return fmt.Errorf("read id map: %w", err)
		}
		*m.into = normalizeMap(string(data))
	}
	return nil
}

// normalizeMap sorts the lines of an id map and folds its blanks, since
// runtimes write them in different orders.
func normalizeMap(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	slices.Sort(lines)
	return strings.Join(lines, ",")
}

func readCgroups(pid int) (map[string]string, error) {
	data, err := os.ReadFile(procFile(pid, "cgroup"))
	if err != nil {
		return nil, fmt.Errorf("read cgroup membership: %w", err)
	}
	groups := map[string]string{}
	for line := range strings.Lines(string(data)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			return nil, fmt.Errorf("parse cgroup membership %q: %w", line, unix.EINVAL)
		}
		groups[parts[1]] = parts[2]
	}
	return groups, nil
}

func readMounts(pid int) ([]Mount, error) {
	f, err := os.Open(procFile(pid, "mountinfo"))
	if err != nil {
		return nil, fmt.Errorf("open mountinfo: %w", err)
	}
	defer f.Close()
	infos, err := mountinfo.GetMountsFromReader(f, nil)
	if err != nil {
		return nil, fmt.Errorf("parse mountinfo: %w", err)
	}
	root, err := unix.Open(procFile(pid, "root"), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open root of sandbox: %w", err)
	}
	defer unix.Close(root)
	mounts := make([]Mount, 0, len(infos))
	for _, info := range infos {
		mount := Mount{
			Target: info.Mountpoint, FSType: info.FSType, Root: info.Root, Source: info.Source,
			Flags: strings.Split(info.Options, ","),
		}
		if err := mount.identify(root, info.ID); err != nil {
			return nil, err
		}
		mounts = append(mounts, mount)
	}
	return mounts, nil
}

// identify looks at what a process of the sandbox finds at the target, and
// whether that is this mount or one that lies over it.
func (m *Mount) identify(root, mountID int) error {
	relative := strings.TrimPrefix(m.Target, "/")
	if relative == "" {
		relative = "."
	}
	fd, err := unix.Openat2(root, relative, &unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_CLOEXEC | unix.O_NOFOLLOW,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_SYMLINKS,
	})
	if err != nil {
		return fmt.Errorf("open %s of sandbox: %w", m.Target, err)
	}
	defer unix.Close(fd)
	var st unix.Statx_t
	mask := unix.STATX_MNT_ID | unix.STATX_INO
	if err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, mask, &st); err != nil {
		return fmt.Errorf("stat %s of sandbox: %w", m.Target, err)
	}
	m.Hidden = st.Mnt_id != uint64(mountID)
	m.Dev = unix.Mkdev(st.Dev_major, st.Dev_minor)
	m.Ino = st.Ino
	m.Rdev = unix.Mkdev(st.Rdev_major, st.Rdev_minor)
	return nil
}

func readProcess(pid int) (Process, error) {
	p := Process{Pid: pid, NoNewPrivs: true, Seccomp: 2, Filters: 1 << 30}
	tasks, err := os.ReadDir(procFile(pid, "task"))
	if err != nil {
		return p, fmt.Errorf("list threads: %w", err)
	}
	sets := map[string]bool{}
	for _, task := range tasks {
		data, err := os.ReadFile(procFile(pid, "task/"+task.Name()+"/status"))
		if err != nil {
			return p, fmt.Errorf("read status: %w", err)
		}
		if err := p.addStatus(string(data), sets, task.Name() == strconv.Itoa(pid)); err != nil {
			return p, fmt.Errorf("parse status of %d: %w", pid, err)
		}
	}
	p.Capabilities = slices.Sorted(maps.Keys(sets))
	if err := p.readLimits(); err != nil {
		return p, err
	}
	var st unix.Stat_t
	if err := unix.Stat(procFile(pid, "environ"), &st); err != nil {
		return p, fmt.Errorf("stat process: %w", err)
	}
	// The files in a dumpable process's /proc directory belong to its own
	// uid, those of any other to root (proc(5)).
	p.Dumpable = strconv.Itoa(int(st.Uid)) == p.UIDs[1]
	p.FDs, err = readFDs(pid)
	return p, err
}

// addStatus folds the status of one thread into the process, keeping the
// weakest of what is found.
func (p *Process) addStatus(text string, sets map[string]bool, leader bool) error {
	var err error
	number := func(value string) int {
		n, convErr := strconv.Atoi(value)
		if convErr != nil && err == nil {
			err = convErr
		}
		return n
	}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch key {
		case "NSpid":
			if fields := strings.Fields(value); leader && len(fields) > 0 {
				p.NSPid = number(fields[len(fields)-1])
			}
		case "Uid":
			p.UIDs = strings.Fields(value)
		case "Gid":
			p.GIDs = strings.Fields(value)
		case "Groups":
			p.Groups = strings.Fields(value)
		case "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb":
			if strings.Trim(value, "0") != "" {
				sets[key+"="+value] = true
			}
		case "NoNewPrivs":
			p.NoNewPrivs = p.NoNewPrivs && value == "1"
		case "Seccomp":
			p.Seccomp = min(p.Seccomp, number(value))
		case "Seccomp_filters":
			p.Filters = min(p.Filters, number(value))
		}
	}
	if len(p.UIDs) != 4 || len(p.GIDs) != 4 {
		return fmt.Errorf("no credentials: %w", unix.EINVAL)
	}
	return err
}

func (p *Process) readLimits() error {
	data, err := os.ReadFile(procFile(p.Pid, "limits"))
	if err != nil {
		return fmt.Errorf("read limits: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "Max core file size"); ok {
			p.Core = strings.Join(strings.Fields(rest)[:2], " ")
		}
		if rest, ok := strings.CutPrefix(line, "Max open files"); ok {
			p.NoFile = strings.Join(strings.Fields(rest)[:2], " ")
		}
	}
	return nil
}

func readFDs(pid int) ([]FD, error) {
	entries, err := os.ReadDir(procFile(pid, "fd"))
	if err != nil {
		return nil, fmt.Errorf("list descriptors: %w", err)
	}
	var fds []FD
	for _, entry := range entries {
		number, err := strconv.Atoi(entry.Name())
		if err != nil {
			return nil, fmt.Errorf("parse descriptor: %w", err)
		}
		target, err := os.Readlink(procFile(pid, "fd/"+entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("read descriptor: %w", err)
		}
		fds = append(fds, FD{number, target})
	}
	return fds, nil
}

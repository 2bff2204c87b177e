package posture

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/cgroup"
	"github.com/creel-sandbox/creel/runner/kernelfile"
)

// namespaceTypes are the files of /proc/PID/ns that a sandbox is held to.
var namespaceTypes = []string{"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"}

// Read reads the posture of the sandbox with this group, whose init has the
// host pid. The init must not be reaped meanwhile, or the number could be
// another's.
func Read(init int, group cgroup.Group) (*Posture, error) {
	p := &Posture{}
	pids, err := group.Procs()
	if err != nil {
		return nil, fmt.Errorf("read processes: %w", err)
	}
	dir, err := openProcess(init)
	if err != nil {
		return nil, err
	}
	defer unix.Close(dir)
	if err := p.readNamespaces(dir); err != nil {
		return nil, err
	}
	slices.SortFunc(pids, func(a, b int) int { return order(a, init) - order(b, init) })
	for _, pid := range pids {
		process, err := readProcess(pid, p.Namespaces)
		if pid != init && (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH)) {
			continue // a command's process that has ended since
		}
		if err != nil {
			return nil, err
		}
		p.Processes = append(p.Processes, process)
	}
	if err := p.readMounts(dir); err != nil {
		return nil, err
	}
	if p.Cgroups, err = readCgroups(dir); err != nil {
		return nil, err
	}
	if p.Limits, err = group.Limits(); err != nil {
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

// openProcess opens the directory of a process, in which its files are looked
// up: they are that process's, or an error once it is gone.
func openProcess(pid int) (int, error) {
	return kernelfile.Open(kernelfile.Path, "/proc/"+strconv.Itoa(pid))
}

func (p *Posture) readNamespaces(dir int) error {
	var err error
	if p.Namespaces, err = namespacesOf(dir, ""); err != nil {
		return err
	}
	ours, err := namespacesOf(kernelfile.Path, "/proc/self/")
	if err != nil {
		return err
	}
	for kind, identity := range ours {
		if p.Namespaces[kind] == identity {
			p.SharedNamespaces = append(p.SharedNamespaces, kind)
		}
	}
	slices.Sort(p.SharedNamespaces)
	for _, kind := range namespaceTypes {
		if kind == "user" {
			continue
		}
		owner, err := ownerOf(dir, "ns/"+kind)
		if err != nil {
			return err
		}
		if owner != p.Namespaces["user"] {
			p.ForeignNamespaces = append(p.ForeignNamespaces, kind)
		}
	}
	return p.readNamespaceFiles(dir)
}

// PIDNamespace identifies the PID namespace of a process, as Namespaces does.
func PIDNamespace(pid int) (string, error) {
	identity, err := kernelfile.Link(kernelfile.Path, fmt.Sprintf("/proc/%d/ns/pid", pid))
	if err != nil {
		return "", fmt.Errorf("read namespace: %w", err)
	}
	return identity, nil
}

// namespacesOf gives the identity of each namespace of a process, whose
// directory is open or, with its closing slash, named.
func namespacesOf(dir int, name string) (map[string]string, error) {
	identities := make(map[string]string, len(namespaceTypes))
	for _, kind := range namespaceTypes {
		identity, err := kernelfile.Link(dir, name+"ns/"+kind)
		if err != nil {
			return nil, fmt.Errorf("read namespace: %w", err)
		}
		identities[kind] = identity
	}
	return identities, nil
}

// ownerOf gives the identity of the user namespace that a namespace was made
// in (NS_GET_USERNS, ioctl_ns(2)).
func ownerOf(dir int, name string) (string, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("open namespace: %w", err)
	}
	defer unix.Close(fd)
	owner, err := unix.IoctlRetInt(fd, unix.NS_GET_USERNS)
	if err != nil {
		return "", fmt.Errorf("read owner of namespace: %w", err)
	}
	defer unix.Close(owner)
	var st unix.Stat_t
	if err := unix.Fstat(owner, &st); err != nil {
		return "", fmt.Errorf("read owner of namespace: %w", err)
	}
	return "user:[" + strconv.FormatUint(st.Ino, 10) + "]", nil
}

// readNamespaceFiles reads what /proc tells about the inside of namespaces.
func (p *Posture) readNamespaceFiles(dir int) error {
	for _, f := range []struct {
		name string
		into func(text string)
	}{
		{"uid_map", func(text string) { p.UIDMap = normalizeMap(text) }},
		{"gid_map", func(text string) { p.GIDMap = normalizeMap(text) }},
		{"net/route", func(text string) { p.addRoutes(text, routeDevice4) }},
		{"net/ipv6_route", func(text string) { p.addRoutes(text, routeDevice6) }},
	} {
		text, err := kernelfile.Read(dir, f.name)
		if errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(f.name, "net/ipv6") {
			continue // a kernel without IPv6
		}
		if err != nil {
			return fmt.Errorf("read %s of init: %w", f.name, err)
		}
		f.into(text)
	}
	return nil
}

// The place of the device's name in a line of the two routing tables; the
// IPv4 table has a line of headings, whose device is called Iface.
func routeDevice4(fields []string) string { return fields[0] }
func routeDevice6(fields []string) string { return fields[len(fields)-1] }

func (p *Posture) addRoutes(text string, device func(fields []string) string) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		if name := device(fields); name != "lo" && name != "Iface" {
			p.Routes = append(p.Routes, strings.Join(fields, " "))
		}
	}
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

func readCgroups(dir int) (map[string]string, error) {
	text, err := kernelfile.Read(dir, "cgroup")
	if err != nil {
		return nil, fmt.Errorf("read cgroup membership: %w", err)
	}
	return parseCgroups(text)
}

// parseCgroups reads /proc/PID/cgroup (cgroups(7)): hierarchy to group.
func parseCgroups(text string) (map[string]string, error) {
	groups := map[string]string{}
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 {
			return nil, fmt.Errorf("parse cgroup membership %q: %w", line, unix.EINVAL)
		}
		groups[parts[1]] = parts[2]
	}
	return groups, nil
}

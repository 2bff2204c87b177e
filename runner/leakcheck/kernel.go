package leakcheck

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// The places that the kernel shows.
const (
	mountTables   = "mounts of all namespaces"
	socketNames   = "names of Unix sockets"
	keyNames      = "names of kernel keys"
	controlGroups = "control groups"
	kernelLog     = "kernel log"
	kernelTrace   = "kernel trace"
)

// perNamespace is a file of proc(5) that is the same in all processes of a
// namespace.
var perNamespace = []struct{ place, namespace, file string }{
	{mountTables, "mnt", "mountinfo"},
	{socketNames, "net", "net/unix"},
}

// kernel is what the kernel itself keeps and shows.
type kernel struct {
	notes   *notes
	sought  *sought
	control Canary
	hold    int
}

func (k *kernel) expect(controls ...string) {
	for _, f := range perNamespace {
		k.notes.expect(f.place, "namespaces", controls...)
	}
	k.notes.expect(keyNames, "lists", controls...)
	k.notes.expect(kernelLog, "records", controls...)
	k.notes.expect(kernelTrace, "buffers", controls...)
}

// look searches all but the control groups.
func (k *kernel) look(control string) {
	k.lookAtNamespaces(control)
	k.lookAtKeys(control)
	k.lookAtLog(control)
	k.lookAtTrace(control)
}

func (k *kernel) lookAtNamespaces(control string) {
	all, err := pids()
	if err != nil {
		k.notes.problem(mountTables, "list processes: %v", err)
		return
	}
	seen := map[string]bool{}
	for _, pid := range all {
		for _, f := range perNamespace {
			namespace, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, f.namespace))
			if err != nil || seen[namespace] {
				continue // a kernel thread has none
			}
			path := fmt.Sprintf("/proc/%d/%s", pid, f.file)
			data, err := os.ReadFile(path)
			if err != nil {
				continue // another process of it is asked
			}
			seen[namespace] = true
			k.data(f.place, path, control, data)
		}
	}
}

// data searches what was read of a place.
func (k *kernel) data(place, where, control string, data []byte) {
	found := k.sought.in(data)
	k.notes.searched(place, 1)
	k.notes.leak(place, where, process{}, found)
	if found.control {
		k.notes.found(place, control)
	}
}

// lookAtKeys searches the names of the keys that root can see (keyrings(7)).
func (k *kernel) lookAtKeys(control string) {
	const path = "/proc/keys"
	data, err := os.ReadFile(path)
	switch {
	case gone(err):
		k.notes.absent(keyNames, "this kernel has no keys")
	case err != nil:
		k.notes.problem(keyNames, "%v", err)
	default:
		k.data(keyNames, path, control, data)
	}
}

// kernelLogPath is a record for each read (Documentation/ABI/testing/dev-kmsg).
const kernelLogPath = "/dev/kmsg"

// lookAtLog searches the kernel's ring buffer, once a line of our own is in it.
func (k *kernel) lookAtLog(control string) {
	fd, err := unix.Open(kernelLogPath, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if gone(err) {
		k.notes.absent(kernelLog, "there is no "+kernelLogPath)
		return
	}
	if err != nil {
		k.notes.problem(kernelLog, "open %s: %v", kernelLogPath, err)
		return
	}
	defer unix.Close(fd)
	// Without a newline the record waits for its continuation, unread.
	if _, err := unix.Write(fd, []byte("<7>creel credential verify-no-leak: a control: "+string(k.control)+"\n")); err != nil {
		k.notes.problem(kernelLog, "write control: %v", err)
	}
	record := make([]byte, 8<<10)
	for {
		n, err := unix.Read(fd, record)
		switch {
		case err == unix.EPIPE || err == unix.EINTR: // a record was overwritten meanwhile
		case err == unix.EAGAIN:
			return
		case err != nil:
			k.notes.problem(kernelLog, "read %s: %v", kernelLogPath, err)
			return
		default:
			k.data(kernelLog, kernelLogPath, control, record[:n])
		}
	}
}

// tracing are where the tracer's files can be mounted.
var tracing = []string{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"}

// lookAtTrace searches what the tracer has recorded, where it is on. Only the
// file that keeps what is read of it is opened.
func (k *kernel) lookAtTrace(control string) {
	at := slices.IndexFunc(tracing, func(dir string) bool {
		_, err := os.Stat(filepath.Join(dir, "trace"))
		return err == nil
	})
	if at < 0 {
		k.notes.absent(kernelTrace, "no tracer is mounted")
		return
	}
	dir := tracing[at]
	if on, err := os.ReadFile(filepath.Join(dir, "tracing_on")); err == nil && string(bytes.TrimSpace(on)) == "0" {
		k.notes.absent(kernelTrace, "it is off")
		return
	}
	if err := os.WriteFile(filepath.Join(dir, "trace_marker"), []byte("creel: a control: "+string(k.control)), 0); err != nil {
		k.notes.problem(kernelTrace, "write control: %v", err)
	}
	buffers, err := filepath.Glob(filepath.Join(dir, "instances", "*", "trace"))
	if err != nil {
		k.notes.problem(kernelTrace, "list instances: %v", err)
	}
	for _, path := range append(buffers, filepath.Join(dir, "trace")) {
		file, err := os.Open(path)
		if err == nil {
			var found seen
			found, err = k.sought.read(file, maxFile)
			err = errors.Join(err, file.Close())
			k.notes.searched(kernelTrace, 1)
			k.notes.leak(kernelTrace, path, process{}, found)
			if found.control {
				k.notes.found(kernelTrace, control)
			}
		}
		if err != nil && !gone(err) {
			k.notes.problem(kernelTrace, "%v", err)
		}
	}
}

// lookAtGroups searches the names of all control groups, among which that of
// the sandbox must be met.
func (k *kernel) lookAtGroups(ctx context.Context, group string) {
	control := "the sandbox's own"
	k.notes.expect(controlGroups, "names", control)
	mounts, err := mountsOf(os.Getpid())
	if err != nil {
		k.notes.problem(controlGroups, "%v", err)
		return
	}
	for _, m := range mounts {
		if !strings.HasPrefix(m.info.FSType, "cgroup") {
			continue
		}
		w := &walk{ctx: ctx, notes: k.notes, sought: k.sought, place: controlGroups, namesOnly: true, named: filepath.Base(group)}
		w.root(m.path)
		if w.met {
			k.notes.found(controlGroups, control)
		}
	}
}

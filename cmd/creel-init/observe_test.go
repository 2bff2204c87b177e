package main

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// What a test, as root on the host, sees of a sandbox in /proc.

// processesOf gives the host's process ids of a sandbox, keyed by those in
// its own PID namespace.
func processesOf(t testing.TB, b *box) map[int]int {
	t.Helper()
	namespace, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", b.pid))
	must(t, err)
	entries, err := os.ReadDir("/proc")
	must(t, err)
	found := map[int]int{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid)); err != nil || ns != namespace {
			continue
		}
		if ids := strings.Fields(statusField(t, pid, "NSpid")); len(ids) > 0 {
			inside, err := strconv.Atoi(ids[len(ids)-1])
			must(t, err)
			found[inside] = pid
		}
	}
	return found
}

// commandOf gives the host's process id of a sandbox's command, which is the
// first process after the init.
func commandOf(t testing.TB, b *box) int {
	t.Helper()
	processes := processesOf(t, b)
	inside := slices.Sorted(maps.Keys(processes))
	if len(inside) < 2 || inside[0] != 1 {
		t.Fatalf("no command in the sandbox: %v", processes)
	}
	return processes[inside[1]]
}

// statusField gives one field of /proc/PID/status, or nothing for a process
// that has ended meanwhile.
func statusField(t testing.TB, pid int, name string) string {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return ""
	}
	for _, line := range strings.Split(string(data), "\n") {
		if value, ok := strings.CutPrefix(line, name+":\t"); ok {
			return value
		}
	}
	return ""
}

func descriptorsOf(t testing.TB, pid int) map[string]string {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	must(t, err)
	found := map[string]string{}
	for _, e := range entries {
		target, err := os.Readlink(dir + "/" + e.Name())
		must(t, err)
		found[e.Name()] = target
	}
	return found
}

// proportionalSet gives the PSS of a process in KiB.
func proportionalSet(t testing.TB, pid int) int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	must(t, err)
	for _, line := range strings.Split(string(data), "\n") {
		if value, ok := strings.CutPrefix(line, "Pss:"); ok {
			kib, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(value, "kB")))
			must(t, err)
			return kib
		}
	}
	t.Fatalf("no Pss in %s", data)
	return 0
}

func ownerOf(t testing.TB, pid int) int {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Stat(fmt.Sprintf("/proc/%d/environ", pid), &st))
	return int(st.Uid)
}

// occurrences counts a string in the readable memory of a process.
func occurrences(t testing.TB, pid int, s string) int {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	must(t, err)
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	must(t, err)
	defer mem.Close()
	n := 0
	for _, line := range strings.Split(string(maps), "\n") {
		var from, to int64
		if _, err := fmt.Sscanf(line, "%x-%x r", &from, &to); err != nil || strings.Contains(line, "[v") {
			continue
		}
		// What is mapped but cannot be read is skipped: guard and device pages.
		data, _ := io.ReadAll(io.NewSectionReader(mem, from, to-from))
		n += strings.Count(string(data), s)
	}
	return n
}

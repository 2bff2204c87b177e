package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// census counts what an invocation could leave behind, of one supervisor
// alone: others may be at work on the machine.
type census map[string]int

// steady is the census once it does not change any more: what the last
// question left is taken away by then.
func (c *creel) steady() census {
	last := c.census()
	for range 100 {
		time.Sleep(20 * time.Millisecond)
		now := c.census()
		if maps.Equal(now, last) {
			break
		}
		last = now
	}
	return last
}

func (c *creel) census() census {
	descriptors, namespaces := 0, 0
	proc := fmt.Sprintf("/proc/%d", c.Pid())
	links, _ := filepath.Glob(proc + "/fd/*")
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil {
			continue
		}
		descriptors++
		if strings.HasPrefix(target, "net:[") {
			namespaces++
		}
	}
	return census{
		"mounts of creeld":                      lines(proc + "/mountinfo"),
		"namespaces kept by mounts":             strings.Count(read(proc+"/mountinfo"), " - nsfs "),
		"descriptors of creeld":                 descriptors,
		"network namespaces kept by creeld":     namespaces,
		"children of creeld":                    len(children(c.Pid())) - zombies(c.Pid()),
		ended:                                   zombies(c.Pid()),
		"processes in control groups":           len(inGroup(c.group)),
		"control groups":                        len(groups(c.group)),
		"bundles":                               entries(c.Dir + "/run/sandboxes"),
		"states of the runtime":                 entries(c.Dir + "/run/oci"),
		"sockets of sandboxes of docker engine": entries(c.Dir + "/run/control"),
	}
}

// leaks waits until the census has no more of anything than it had, and gives
// what it has if it does not come to that. Meanwhile it runs commands: creeld
// collects what has ended when it takes a sandbox away.
func (c *creel) leaks(ctx context.Context, b *bench, before census) []string {
	deadline := time.Now().Add(fillTime)
	for {
		if err := c.settle(ctx); err != nil {
			return []string{err.Error()}
		}
		left := more(c.census(), before)
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
		if err := c.once(b, cold)(ctx); err != nil {
			return append(left, "and a command failed: "+err.Error())
		}
	}
}

// ended are children that creeld has not collected yet. It does when it takes
// a sandbox away, so those of the sandboxes that wait in a pool stay till then.
const ended = "zombies of creeld"

// maxEnded is more than a pool and what fills it have.
const maxEnded = 100

func more(now, before census) []string {
	var out []string
	for _, what := range slices.Sorted(maps.Keys(before)) {
		allowed := before[what]
		if what == ended {
			allowed = maxEnded
		}
		if now[what] > allowed {
			out = append(out, fmt.Sprintf("%s: %d before, %d after", what, before[what], now[what]))
		}
	}
	return out
}

// leftBehind is what should be gone with a supervisor that was stopped.
func leftBehind(dir, group string) []string {
	var left []string
	for _, line := range strings.Split(read("/proc/self/mountinfo"), "\n") {
		if strings.Contains(line, " "+dir+"/") {
			left = append(left, "mount: "+line)
		}
	}
	left = append(left, groups(group)...)
	return append(left, inGroup(group)...)
}

// inGroup lists the processes in a supervisor's control groups.
func inGroup(group string) []string {
	var found []string
	if group == "" {
		return nil
	}
	memberships, _ := filepath.Glob("/proc/[0-9]*/cgroup")
	for _, membership := range memberships {
		status := read(filepath.Join(filepath.Dir(membership), "status"))
		if strings.Contains(read(membership), ":"+group+"/") && !strings.Contains(status, "\nState:\tZ") {
			found = append(found, "process "+filepath.Base(filepath.Dir(membership)))
		}
	}
	return found
}

// groups lists the control groups below a supervisor's, in every hierarchy.
func groups(group string) []string {
	if group == "" {
		return nil
	}
	v1, _ := filepath.Glob("/sys/fs/cgroup/*" + group + "/*/cgroup.procs")
	v2, _ := filepath.Glob("/sys/fs/cgroup" + group + "/*/cgroup.procs")
	return append(v1, v2...)
}

func read(path string) string {
	data, _ := os.ReadFile(path) // what is gone holds nothing
	return string(data)
}

func lines(path string) int { return strings.Count(read(path), "\n") }

func entries(path string) int {
	list, _ := os.ReadDir(path)
	return len(list)
}

func zombies(pid int) int {
	n := 0
	for _, child := range children(pid) {
		if strings.Contains(read(fmt.Sprintf("/proc/%d/status", child)), "\nState:\tZ") {
			n++
		}
	}
	return n
}

func children(pid int) []int {
	var pids []int
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		for _, field := range strings.Fields(read(task)) {
			if child, err := strconv.Atoi(field); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

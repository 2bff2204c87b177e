package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/creel-sandbox/creel/runner/api"
)

type sandboxRow = api.Sandbox

// ours are the programs of a launch, by the names that the kernel has for
// their threads: creel-init is called as the sandbox sees it, and each thing
// that it starts as the command.
var ours = regexp.MustCompile(`^(creel|creeld|crun|runc|runc:\[.*|init|exe|busybox|bench|kworker.*|rcu_.*|ksoftirqd.*)$`)

// waits are calls that only wait for somebody else.
var waits = []string{"futex", "epoll_wait", "epoll_pwait", "epoll_pwait2", "nanosleep", "clock_nanosleep", "wait4", "waitid", "poll", "ppoll",
	"recvmsg", "recvfrom", "read", "accept4", "select", "pselect6", "pause", "rt_sigtimedwait", "sched_yield"}

// symbolsShown is how many kernel and program functions a table has.
const symbolsShown = 25

// tally adds up by name.
type tally map[string]float64

// most gives the names with the largest sums first, n at most.
func (t tally) most(n int) []string {
	names := make([]string, 0, len(t))
	for name := range t {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		switch {
		case t[a] > t[b]:
			return -1
		case t[a] < t[b]:
			return 1
		}
		return strings.Compare(a, b)
	})
	return names[:min(n, len(names))]
}

// A sample of perf-script(1) begins with the thread's name, the process and
// the nanoseconds it stands for; its functions follow, the innermost first.
var (
	samplePattern = regexp.MustCompile(`^(\S.*?)\s+(\d+)\s+(\d+)\s*$`)
	framePattern  = regexp.MustCompile(`^\s+[0-9a-f]+ (.+)$`)
)

// samples adds up, in milliseconds: by program; by innermost function of all
// programs but creeld; and of creeld, by each function of its own that the
// processor was in or below.
type samples struct{ programs, innermost, creeld tally }

func readSamples(script string, creeld int) samples {
	s := samples{tally{}, tally{}, tally{}}
	program, period, depth := "", 0.0, 0
	seen := map[string]bool{} // of this sample's functions: one may call itself
	for line := range strings.Lines(script) {
		line = strings.TrimRight(line, "\n")
		if found := samplePattern.FindStringSubmatch(line); found != nil {
			period, _ = strconv.ParseFloat(found[3], 64) // digits, says the pattern
			period /= 1e6
			program, depth = programOf(found[1], found[2], creeld), 0
			clear(seen)
			s.programs[program] += period
			continue
		}
		found := framePattern.FindStringSubmatch(line)
		if found == nil || strings.HasPrefix(program, "(") {
			continue
		}
		function, own := strings.CutPrefix(found[1], "github.com/creel-sandbox/creel/")
		switch depth++; {
		case program != "creeld" && depth == 1:
			s.innermost[program+": "+function] += period
		case program == "creeld" && own && !seen[function]:
			seen[function] = true
			s.creeld[function] += period
		}
	}
	return s
}

func programOf(comm, pid string, creeld int) string {
	switch {
	case pid == strconv.Itoa(creeld):
		return "creeld"
	case strings.HasPrefix(comm, "swapper"):
		return "(idle)"
	case !ours.MatchString(comm):
		return "(other programs)"
	}
	return comm
}

func sampleTable(script string, creeld, commands int) string {
	s := readSamples(script, creeld)
	out := ""
	for _, part := range []struct {
		title string
		sums  tally
	}{{"program", s.programs}, {"program: innermost function", s.innermost}, {"creeld: function, with all it calls", s.creeld}} {
		t := newTable(part.title, "ms a command")
		for _, name := range part.sums.most(symbolsShown) {
			t.row(name, fmt.Sprintf("%.3f", part.sums[name]/float64(commands)))
		}
		out += t.String() + "\n"
	}
	return strings.TrimSuffix(out, "\n")
}

var (
	threadPattern = regexp.MustCompile(`^ (\S.*?) \(\d+\), \d+ events`)
	callPattern   = regexp.MustCompile(`^   (\w+) +(\d+) +(\d+) +([\d.]+) `)
)

// callTable adds up the summary of perf-trace(1), which has one part for each
// thread, by program.
func callTable(summary string, commands int) string {
	counts, times, threads := tally{}, tally{}, tally{}
	program := ""
	for line := range strings.Lines(summary) {
		if found := threadPattern.FindStringSubmatch(line); found != nil {
			program = found[1]
			if ours.MatchString(program) {
				threads[program]++
			}
			continue
		}
		found := callPattern.FindStringSubmatch(line)
		if found == nil || !ours.MatchString(program) || slices.Contains(waits, found[1]) {
			continue
		}
		n, _ := strconv.ParseFloat(found[2], 64) // digits, says the pattern
		took, _ := strconv.ParseFloat(found[4], 64)
		key := program + ": " + found[1]
		counts[key] += n
		times[key] += took
	}
	t := newTable("program: call", "calls", "ms", "µs each")
	for _, key := range times.most(symbolsShown) {
		t.row(key, fmt.Sprintf("%.1f", counts[key]/float64(commands)), fmt.Sprintf("%.3f", times[key]/float64(commands)), fmt.Sprintf("%.1f", 1000*times[key]/counts[key]))
	}
	h := newTable("program", "threads a command")
	for _, name := range threads.most(len(threads)) {
		h.row(name, fmt.Sprintf("%.1f", threads[name]/float64(commands)))
	}
	return t.String() + "\n" + h.String()
}

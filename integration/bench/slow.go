package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// What the slowest of many warm calls have in common is seen only by who has
// watched the scheduler all the time: perf(1) records every switch, and of the
// calls themselves their beginnings and ends are kept, of the same clock.

// span is a stretch of CLOCK_MONOTONIC.
type span struct{ from, to time.Duration }

func (s span) length() time.Duration { return s.to - s.from }

// overlap is how long both last at once.
func (s span) overlap(other span) time.Duration {
	return max(0, min(s.to, other.to)-max(s.from, other.from))
}

// watchedCall is one call, and what the host took of the processors meanwhile.
type watchedCall struct {
	span
	stolen time.Duration
}

// turn is a stretch in which one processor ran one program and nothing else.
type turn struct {
	span
	processor, program string
}

// slowShown is how many of the slowest calls are shown as they went, and
// turnShown how long a turn of them is at least.
const (
	slowShown = 5
	turnShown = 300 * time.Microsecond
)

// slowest makes paced warm calls, and says which programs had the processors
// in the slowest hundredth, and in the fifth around the median.
func (b *bench) slowest(ctx context.Context, c *creel, calls int) error {
	data := filepath.Join(b.dir, "perf.sched")
	var watched []watchedCall
	if err := b.schedule(data, func() (err error) {
		watched, err = b.watch(ctx, c, calls)
		return err
	}); err != nil {
		return err
	}
	slices.SortFunc(watched, func(a, b watchedCall) int { return int(a.length() - b.length()) })
	slow := watched[len(watched)-max(1, len(watched)/100):]
	usual := watched[len(watched)*2/5 : max(1, len(watched)*3/5)]
	turns, err := turnsOf(data, slices.Concat(slow, usual))
	if err != nil {
		return err
	}
	var took []float64
	for _, call := range watched {
		took = append(took, milliseconds(call.length()))
	}
	fmt.Printf("\n## %s, %s: the slowest of %d calls, each once all is still\n\np50 %s ms, p90 %s ms, p99 %s ms. Ticks stolen by the host: %s of each of the slowest %d calls, %s of the %d usual ones.\n\n%s",
		c.maker, warm, len(watched), short(middle(took)), short(quantile(took, .9)), short(quantile(took, .99)), meanStolen(slow), len(slow), meanStolen(usual), len(usual), shareTable(turns, slow, usual))
	for _, call := range slices.Backward(slow[max(0, len(slow)-slowShown):]) {
		fmt.Printf("\n%s\n", courseTable(turns, call))
	}
	return nil
}

// watch makes paced calls.
func (b *bench) watch(ctx context.Context, c *creel, calls int) (all []watchedCall, err error) {
	once := c.once(b, warm)
	for range calls {
		b.still(ctx)
		var call watchedCall
		before, err := stolen()
		if err != nil {
			return nil, err
		}
		call.from = monotonic()
		if err := once(ctx); err != nil {
			return nil, err
		}
		call.to = monotonic()
		after, err := stolen()
		if err != nil {
			return nil, err
		}
		call.stolen = after - before
		all = append(all, call)
	}
	return all, nil
}

// monotonic is the time of the clock that perf is told to use.
func monotonic() time.Duration {
	var now unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) // fails for no clock that there is
	return time.Duration(now.Nano())
}

// schedule has perf record what the scheduler does while something is done.
func (b *bench) schedule(data string, do func() error) error {
	// It records until its child ends, and cat until there is no more to read.
	perf := exec.Command("perf", "record", "--all-cpus", "--clockid", "CLOCK_MONOTONIC", "--mmap-pages", "4096",
		"--event", "sched:sched_switch", "--output", data, "--", "cat")
	end, err := perf.StdinPipe()
	if err != nil {
		return err
	}
	var said strings.Builder
	perf.Stderr = &said
	if err := perf.Start(); err != nil {
		return fmt.Errorf("start perf: %w", err)
	}
	failed := do()
	end.Close()
	if err := perf.Wait(); err != nil {
		return fmt.Errorf("run perf record: %w: %s", err, said.String())
	}
	return failed
}

// turnsOf reads the turns during some calls, in the order of their ends.
func turnsOf(data string, calls []watchedCall) ([]turn, error) {
	script := exec.Command("perf", "script", "--ns", "--input", data, "--fields", "cpu,time,event,trace")
	out, err := script.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := script.Start(); err != nil {
		return nil, fmt.Errorf("start perf script: %w", err)
	}
	turns, err := readTurns(out, calls)
	if err != nil {
		_ = script.Process.Kill()
	}
	if ended := script.Wait(); err == nil && ended != nil {
		err = fmt.Errorf("run perf script: %w", ended)
	}
	return turns, err
}

// switchPattern is one sched_switch of perf-script(1): when a processor left a
// thread for another. The name of a thread can hold anything.
var switchPattern = regexp.MustCompile(`^\s*\[(\d+)\]\s+(\d+\.\d{9}):\s+sched:sched_switch:\s+(?:prev_comm=)?(.*?)(?: prev_pid=|:)(\d+) .* ==> `)

// longestTurn is far beyond how long a processor sleeps or runs one program.
const longestTurn = 5 * time.Second

func readTurns(script io.Reader, calls []watchedCall) (turns []turn, err error) {
	calls = slices.SortedFunc(slices.Values(calls), func(a, b watchedCall) int { return int(a.from - b.from) })
	left := map[string]time.Duration{} // when each processor last left a thread
	lines := bufio.NewScanner(script)
	for lines.Scan() {
		found := switchPattern.FindStringSubmatch(lines.Text())
		if found == nil {
			return nil, fmt.Errorf("read perf script: %q is no switch", lines.Text())
		}
		at, err := time.ParseDuration(found[2] + "s")
		if err != nil {
			return nil, fmt.Errorf("read perf script: %q: %w", lines.Text(), err)
		}
		t := turn{span{left[found[1]], at}, found[1], found[3]}
		if found[4] == "0" {
			t.program = "(idle)"
		}
		left[t.processor] = at
		// Turns come in the order of their ends, so another processor's next
		// one may have begun long before this one.
		for len(calls) > 0 && calls[0].to < at-longestTurn {
			calls = calls[1:]
		}
		for _, call := range calls {
			if t.from == 0 || call.from >= at {
				break
			}
			if t.overlap(call.span) > 0 {
				turns = append(turns, t)
				break
			}
		}
	}
	return turns, lines.Err()
}

func meanStolen(calls []watchedCall) string {
	var sum time.Duration
	for _, call := range calls {
		sum += call.stolen
	}
	return fmt.Sprintf("%.2f ms", milliseconds(sum)/float64(max(1, len(calls))))
}

// shareTable compares who had the processors in two kinds of calls.
func shareTable(turns []turn, slow, usual []watchedCall) string {
	inSlow, inUsual := shares(turns, slow), shares(turns, usual)
	t := newTable("program", "ms, a slow call", "ms, a usual call")
	for _, name := range inSlow.most(symbolsShown) {
		t.row(name, fmt.Sprintf("%.3f", inSlow[name]), fmt.Sprintf("%.3f", inUsual[name]))
	}
	return t.String()
}

func shares(turns []turn, calls []watchedCall) tally {
	sums := tally{}
	for _, call := range calls {
		for _, t := range turns {
			if both := t.overlap(call.span); both > 0 {
				sums[t.program] += milliseconds(both) / float64(len(calls))
			}
		}
	}
	return sums
}

// courseTable shows one call as it went.
func courseTable(turns []turn, call watchedCall) string {
	t := newTable(fmt.Sprintf("ms of %s, %s stolen", short(milliseconds(call.length())), call.stolen), "ms", "processor", "program")
	for _, turn := range turns {
		if both := turn.overlap(call.span); both >= turnShown {
			t.row(fmt.Sprintf("%.3f", milliseconds(max(0, turn.from-call.from))), fmt.Sprintf("%.3f", milliseconds(both)), turn.processor, turn.program)
		}
	}
	return t.String()
}

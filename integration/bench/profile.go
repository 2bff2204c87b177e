package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// slowCalls is how many times as many calls are watched for the slowest.
const slowCalls = 3

// printProfile says which step of a launch takes how long, whose the time of
// the processors is, and which system calls are made how often. It asks
// creeld for its steps (`creel inspect`), and perf(1) for the rest: creeld
// itself has no door for a profiler.
func (b *bench) printProfile(ctx context.Context) {
	for _, c := range b.rigs {
		for _, policy := range []string{cold, warm} {
			steps, whole, refill, err := b.steps(ctx, c, policy)
			b.tb.Check(err)
			fmt.Printf("\n## %s, %s: %d launches, one after another\n\n%s", c.maker, policy, b.launches, stepTable(steps, whole))
			if refill > 0 {
				fmt.Printf("\nThe pool takes %s ms for each sandbox that it makes anew, with all that ends meanwhile.\n", short(refill))
			}
		}
		for _, policy := range []string{cold, warm} {
			if err := b.perf(ctx, c, policy); err != nil {
				fmt.Printf("\n%s, %s: no processor time and no system calls: %v\n", c.maker, policy, err)
			}
		}
		if err := b.slowest(ctx, c, slowCalls*b.launches); err != nil {
			fmt.Printf("\n%s, %s: no slowest calls: %v\n", c.maker, warm, err)
		}
	}
}

var stepPattern = regexp.MustCompile(`^(.+): ([0-9.]+(?:ns|µs|ms|s))$`)

// steps launches one command after another, each, with a pool, once it is
// full, and gives what creeld says of each step, and how long the whole took
// here, in milliseconds.
func (b *bench) steps(ctx context.Context, c *creel, policy string) (steps map[string][]float64, whole []float64, refill float64, err error) {
	burst := 1
	steps = map[string][]float64{}
	for done := 0; done < b.launches; done += burst {
		began := time.Now()
		if policy == warm {
			if err := c.settle(ctx); err != nil {
				return nil, nil, 0, err
			}
			if done > 0 && c.waiting > 0 {
				refill = milliseconds(time.Since(began)) / float64(c.waiting)
			}
			burst = max(1, c.waiting)
		}
		for range burst {
			took, err := timed(ctx, c.once(b, policy))
			if err != nil {
				return nil, nil, 0, err
			}
			whole = append(whole, took)
		}
		if err := c.addSteps(ctx, policy, burst, steps); err != nil {
			return nil, nil, 0, err
		}
	}
	return steps, whole, refill, nil
}

// addSteps adds the steps of the newest n ended sandboxes of a policy.
func (c *creel) addSteps(ctx context.Context, policy string, n int, steps map[string][]float64) error {
	reply, err := c.Ps(ctx, true)
	if err != nil {
		return err
	}
	rows := slices.DeleteFunc(reply.Sandboxes, func(s sandboxRow) bool { return s.Result == nil || s.Policy != policy })
	slices.SortFunc(rows, func(a, b sandboxRow) int { return b.Result.StartedAt.Compare(a.Result.StartedAt) })
	for _, row := range rows[:min(n, len(rows))] {
		one, err := c.Inspect(ctx, row.ID)
		if err != nil {
			return err
		}
		for _, line := range one.Steps {
			if found := stepPattern.FindStringSubmatch(line); found != nil {
				took, err := time.ParseDuration(found[2])
				if err != nil {
					return fmt.Errorf("parse step %q: %w", line, err)
				}
				steps[found[1]] = append(steps[found[1]], milliseconds(took))
			}
		}
	}
	return nil
}

func stepTable(steps map[string][]float64, whole []float64) string {
	t := newTable("step", "p50 ms", "p90 ms", "share of the whole", "n")
	names := make([]string, 0, len(steps))
	for name := range steps {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return int(1e6 * (middle(steps[b]) - middle(steps[a]))) })
	all := middle(whole)
	for _, name := range names {
		took := middle(steps[name])
		t.row(name, fmt.Sprintf("%.3f", took), fmt.Sprintf("%.3f", quantile(steps[name], .9)), fmt.Sprintf("%.0f %%", 100*took/all), fmt.Sprint(len(steps[name])))
	}
	t.row("**the whole, at the API**", fmt.Sprintf("%.3f", all), fmt.Sprintf("%.3f", quantile(whole, .9)), "100 %", fmt.Sprint(len(whole)))
	return t.String()
}

// perf watches the machine while callers keep creeld busy: first the
// processors, by sampling, then the system calls.
func (b *bench) perf(ctx context.Context, c *creel, policy string) error {
	if _, err := exec.LookPath("perf"); err != nil {
		return fmt.Errorf("%w (apt-get install linux-perf)", err)
	}
	data := filepath.Join(b.dir, "perf.data")
	n, err := b.watched(ctx, c, policy, "record", "--all-cpus", "--call-graph", "fp", "--event", "cpu-clock", "--freq", "1999", "--output", data)
	if err != nil {
		return err
	}
	script, err := exec.Command("perf", "script", "--input", data, "--fields", "comm,pid,period,ip,sym").Output()
	if err != nil {
		return fmt.Errorf("read samples: %w", err)
	}
	fmt.Printf("\n## %s, %s: the processors' time, %d callers\n\n%s", c.maker, policy, sustainedCallers, sampleTable(string(script), c.Pid(), n))
	calls := filepath.Join(b.dir, "perf.calls")
	if n, err = b.watched(ctx, c, policy, "trace", "--summary", "--all-cpus", "--output", calls); err != nil {
		return err
	}
	summary, err := os.ReadFile(calls)
	if err != nil {
		return err
	}
	fmt.Printf("\n## %s, %s: system calls a command\n\nTime includes waiting, so calls that only wait are left out, and what perf adds, some 20 µs a call.\n\n%s", c.maker, policy, callTable(string(summary), n))
	return nil
}

// watchTime is how long perf watches.
const watchTime = 4 * time.Second

// watched keeps creeld busy while perf runs, and gives how many commands ran.
func (b *bench) watched(ctx context.Context, c *creel, policy string, args ...string) (int, error) {
	perf := exec.Command("perf", append(args, "--", "sleep", fmt.Sprint(watchTime.Seconds()))...)
	var said strings.Builder
	perf.Stderr = &said
	if err := perf.Start(); err != nil {
		return 0, fmt.Errorf("start perf: %w", err)
	}
	work := &cell{contender: &contender{name: policy, once: c.once(b, policy)}, callers: sustainedCallers}
	began := time.Now()
	n := len(work.call(ctx, func(int64) bool { return time.Since(began) < watchTime }))
	if err := perf.Wait(); err != nil {
		return 0, fmt.Errorf("run perf %s: %w: %s", args[0], err, said.String())
	}
	if work.failed > 0 {
		return 0, fmt.Errorf("%d commands failed: %s", work.failed, work.failure)
	}
	return n, nil
}

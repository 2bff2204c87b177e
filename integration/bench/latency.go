package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// callerCounts are how many call at once, in a quick run all but the last.
var callerCounts = []int{1, 16, 64}

// cell is one contender at one number of callers.
type cell struct {
	*contender
	callers int
	rounds  [][]float64 // milliseconds; empty where it was not measured
	spent   time.Duration
	failed  int
	failure string
	missed  int // calls for which no sandbox can have waited

	// Of the paced calls of one caller: what the host took of the processors
	// meanwhile, and the milliseconds of those from which it took nothing.
	stolen time.Duration
	own    []float64
}

// measureLatency goes through all contenders in each round, so that no
// contender has the machine's better hour.
func (b *bench) measureLatency(ctx context.Context) {
	counts := callerCounts
	if b.quick {
		counts = counts[:len(counts)-1]
	}
	for _, callers := range counts {
		var cells []*cell
		for _, c := range b.contenders {
			cells = append(cells, &cell{contender: c, callers: callers})
		}
		began := time.Now()
		for i := range b.rounds {
			if i > 0 && time.Since(began) > b.most {
				b.say("latency at %d callers: %d of %d rounds, since the machine is slow", callers, i, b.rounds)
				break
			}
			for _, c := range cells {
				var round []float64
				if ctx.Err() == nil && c.worthwhile(b) {
					round = c.round(ctx, b)
				}
				c.rounds = append(c.rounds, round)
			}
		}
		for _, c := range cells {
			b.report.Latency = append(b.report.Latency, c.row())
		}
		b.say("latency at %d callers is done", callers)
	}
}

// pacedShare is how many times its share of the run a paced contender has.
const pacedShare = 40

// worthwhile leaves out what is missing, what fails from the start, what
// hangs, and what has had three times its share of the run: the slow ones
// need fewer rounds. A paced contender mostly waits, and makes a number of
// calls and no more.
func (c *cell) worthwhile(b *bench) bool {
	share := 3
	if c.paced {
		share = pacedShare
	}
	broken := c.failed > 0 && len(slices.Concat(c.rounds...)) == 0
	return c.missing == "" && !broken && !c.hangs() && c.spent < time.Duration(share*b.rounds)*b.budget
}

// hangs reports whether a call has hung with as many callers, or fewer.
func (c *cell) hangs() bool { return c.hung > 0 && c.hung <= c.callers }

// round measures for about as long as the budget says, and then gives all
// supervisors the time to do what is left to do, which counts as its own.
func (c *cell) round(ctx context.Context, b *bench) []float64 {
	b.still(ctx)
	began := time.Now()
	defer func() { c.spent += time.Since(began) }()
	defer b.settle(ctx)
	if !c.paced || c.warm != nil && c.warm.absent {
		return c.call(ctx, func(int64) bool { return time.Since(began) < b.budget })
	}
	least := b.paced
	if c.callers > 1 {
		least /= 4 // and yet more, since each time all call
	}
	if c.warm != nil {
		least = min(least, 2*c.warm.size)
	}
	var all []float64
	for n := 0; (time.Since(began) < b.budget || n < least) && ctx.Err() == nil && !c.hangs(); {
		if n > 0 {
			b.still(ctx)
		}
		calls := c.callers
		if c.warm != nil {
			if c.warm.stuck != nil {
				c.failed, c.failure = c.failed+1, c.warm.stuck.Error()
				break
			}
			if c.burst {
				calls = max(c.warm.waiting, calls)
			}
			c.missed += max(0, calls-c.warm.waiting)
		}
		n += calls
		all = append(all, c.held(func() []float64 { return c.call(ctx, func(n int64) bool { return n <= int64(calls) }) })...)
	}
	return all
}

// held adds up what the host takes while one caller calls once.
func (c *cell) held(call func() []float64) []float64 {
	before, err := stolen()
	took := call()
	after, again := stolen()
	if c.callers > 1 || c.burst || err != nil || again != nil {
		return took
	}
	c.stolen += after - before
	if after == before {
		c.own = append(c.own, took...)
	}
	return took
}

// call has all callers call, each at least once, while more says so of the
// how-manieth call of all it is. It gives what each took that succeeded.
func (c *cell) call(ctx context.Context, more func(n int64) bool) (all []float64) {
	var (
		mu    sync.Mutex
		calls atomic.Int64
		done  sync.WaitGroup
	)
	for range c.callers {
		done.Go(func() {
			for first := true; (more(calls.Add(1)) || first) && ctx.Err() == nil; first = false {
				took, err := timed(ctx, c.once)
				mu.Lock()
				if err == nil {
					all = append(all, took)
				} else if ctx.Err() == nil {
					c.failed, c.failure = c.failed+1, err.Error()
					if errors.Is(err, errHung) {
						c.hung = c.callers
					}
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	done.Wait()
	if c.hangs() && c.mend != nil && ctx.Err() == nil {
		if err := within(mendTime, c.mend)(ctx); err != nil {
			c.failure += "; what it left: " + err.Error()
		}
	}
	return all
}

// mendTime is how long the others wait for what one that hung has left.
const mendTime = 30 * time.Second

func timed(ctx context.Context, do func(context.Context) error) (float64, error) {
	began := time.Now()
	err := do(ctx)
	return milliseconds(time.Since(began)), err
}

func (c *cell) row() LatencyRow {
	all := slices.Concat(c.rounds...)
	row := LatencyRow{Contender: c.name, Callers: c.callers, N: len(all), Missed: c.missed, Failed: c.failed, Note: c.note()}
	if c.warm != nil && c.warm.absent {
		row.Note = coldNote
	}
	if len(all) > 0 {
		row.P50, row.P90, row.P99 = middle(all), quantile(all, .9), quantile(all, .99)
		row.Rounds = medians(c.rounds)
		row.Low, row.High = between10and90(row.Rounds)
	}
	if len(c.own) > 0 {
		row.Stolen, row.HeldUp, row.OwnP99 = milliseconds(c.stolen), len(all)-len(c.own), quantile(c.own, .99)
	}
	return row
}

// note says why there is not what should be.
func (c *cell) note() string {
	switch {
	case c.missing != "":
		return c.missing
	case c.failure == "" && c.hangs():
		return "not tried: it hung before"
	}
	return c.failure
}

const coldNote = "no sandbox waited: these are cold"

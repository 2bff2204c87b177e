package main

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// callerCounts are how many call at once.
var callerCounts = []int{1, 16, 64}

// cell is one contender at one number of callers.
type cell struct {
	*contender
	callers int
	rounds  [][]float64 // milliseconds
	spent   time.Duration
	failed  int
	failure string
	missed  int // calls for which no sandbox can have waited
}

// measureLatency goes through all contenders in each round, so that no
// contender has the machine's better hour.
func (b *bench) measureLatency(ctx context.Context) {
	for _, callers := range callerCounts {
		var cells []*cell
		for _, c := range b.contenders {
			cells = append(cells, &cell{contender: c, callers: callers})
		}
		for range b.rounds {
			for _, c := range cells {
				if ctx.Err() == nil && c.worthwhile(b) {
					c.round(ctx, b.budget)
				}
			}
		}
		for _, c := range cells {
			b.report.Latency = append(b.report.Latency, c.row())
		}
		b.say("latency at %d callers is done", callers)
	}
}

// worthwhile leaves out what is missing, what fails from the start, and what
// has had three times its share of the run: the slow ones need fewer rounds.
// A contender with a pool mostly waits, and has ten times its share.
func (c *cell) worthwhile(b *bench) bool {
	share := 3
	if c.warm != nil {
		share = 10
	}
	broken := c.failed > 0 && len(slices.Concat(c.rounds...)) == 0
	return c.missing == "" && !broken && c.spent < time.Duration(share*b.rounds)*b.budget
}

// pooledCalls is how many calls a round makes at least of contenders with a
// pool, which mostly wait for it to be full again.
const pooledCalls = 32

// round measures for about as long as the budget says. With a pool, each
// caller calls once each time that it is full, or, in bursts, all call again
// and again until as many have called as waited.
func (c *cell) round(ctx context.Context, budget time.Duration) {
	began := time.Now()
	defer func() { c.spent += time.Since(began) }()
	if c.warm == nil || c.warm.absent {
		c.call(ctx, func(int64) bool { return time.Since(began) < budget })
		return
	}
	for done := 0; time.Since(began) < budget || done < pooledCalls; {
		waiting, err := c.warm.settle(ctx)
		if err != nil {
			c.failed, c.failure = c.failed+1, err.Error()
			return
		}
		calls := c.callers
		if c.contender.burst {
			calls = max(waiting, calls)
		}
		done += calls
		if !c.warm.absent {
			c.missed += max(0, calls-waiting)
		}
		c.call(ctx, func(n int64) bool { return n <= int64(calls) })
	}
}

// call has all callers call, each at least once, while more says so of the
// how-manieth call of all it is.
func (c *cell) call(ctx context.Context, more func(n int64) bool) {
	var (
		mu    sync.Mutex
		all   []float64
		calls atomic.Int64
		done  sync.WaitGroup
	)
	for range c.callers {
		done.Go(func() {
			for first := true; (more(calls.Add(1)) || first) && ctx.Err() == nil; first = false {
				began := time.Now()
				err := c.once(ctx)
				took := milliseconds(time.Since(began))
				mu.Lock()
				if err != nil {
					c.failed, c.failure = c.failed+1, err.Error()
				} else {
					all = append(all, took)
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	done.Wait()
	c.rounds = append(c.rounds, all)
}

func (c *cell) row() LatencyRow {
	all := slices.Concat(c.rounds...)
	row := LatencyRow{Contender: c.name, Callers: c.callers, N: len(all), Failed: c.failed, Note: c.missing}
	if c.failure != "" {
		row.Note = c.failure
	}
	if c.warm != nil && c.warm.absent {
		row.Note = coldNote
	}
	row.Missed = c.missed
	if len(all) > 0 {
		row.P50, row.P90, row.P99 = quantile(all, .5), quantile(all, .9), quantile(all, .99)
		of := medians(c.rounds)
		row.Low, row.High = quantile(of, .1), quantile(of, .9)
	}
	return row
}

const coldNote = "no sandbox waited: these are cold"

package main

import (
	"context"
	"time"
)

// plainEvery is after how many invocations a plain fork and exec is measured,
// to tell creel's own drift from the machine's.
const plainEvery = 5

// measureDrift runs invocations one after another, through the pool, and sees
// whether the last are slower than the first, and what is left of them.
func (b *bench) measureDrift(ctx context.Context) {
	row := DriftRow{N: b.drift, Window: b.drift / 10}
	leaks, ok := b.endure(ctx, "drift", "after invocations in a row", func(c *creel) {
		row.MemoryBefore = pss([]int{c.Pid()})
		c.inARow(ctx, b, &row)
	})
	if !ok {
		return
	}
	row.Leaks = leaks
	row.MemoryAfter = pss([]int{b.rig("crun").Pid()})
	b.report.Drift = &row
}

// inARow first empties the pool, which is refilled meanwhile, and so takes more
// commands than it holds: those that follow find what creeld can make at that
// moment, the first as the last.
func (c *creel) inARow(ctx context.Context, b *bench, row *DriftRow) {
	once, compare := c.once(b, warm), b.plain.once
	for range 2 * c.size {
		if err := once(ctx); err != nil {
			row.Failed++
			row.Note = err.Error()
		}
	}
	var first, last, plainFirst, plainLast []float64
	began := time.Now()
	for i := range b.drift {
		if ctx.Err() != nil {
			return
		}
		took, err := timed(ctx, once)
		if err != nil {
			row.Failed++
			row.Note = err.Error()
			continue
		}
		early, late := i < row.Window, i >= b.drift-row.Window
		switch {
		case early:
			first = append(first, took)
		case late:
			last = append(last, took)
		}
		if (early || late) && i%plainEvery == 0 {
			took, err := timed(ctx, compare)
			b.tb.Check(err)
			if early {
				plainFirst = append(plainFirst, took)
			} else {
				plainLast = append(plainLast, took)
			}
		}
	}
	row.Took = time.Since(began).Seconds()
	row.First, row.Last = middle(first), middle(last)
	row.PlainFirst, row.PlainLast = middle(plainFirst), middle(plainLast)
}

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
	c := b.rig("crun")
	if c == nil {
		b.report.problem("drift: there is no supervisor with crun")
		return
	}
	p := &pool{creel: c, policy: warm}
	_, err := p.settle(ctx)
	b.tb.check(err)
	before, memory := c.steady(), pss([]int{c.Pid()})
	once, compare := c.once(b, warm), b.contenders[0].once
	row := DriftRow{N: b.drift, Window: b.drift / 10, MemoryBefore: memory}
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
			b.tb.check(err)
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
	_, err = p.settle(ctx)
	b.tb.check(err)
	row.Leaks = c.leaks(ctx, b, before)
	row.MemoryAfter = pss([]int{c.Pid()})
	b.report.leaked("after invocations in a row", row.Leaks)
	b.report.Drift = &row
}

func timed(ctx context.Context, do func(context.Context) error) (float64, error) {
	began := time.Now()
	err := do(ctx)
	return milliseconds(time.Since(began)), err
}

package main

import (
	"context"
	"slices"
	"time"
)

// sustainedCallers is how many call at once in the sustained rows.
const sustainedCallers = 8

// measureSustained has each contender work for its seconds, in slices that
// take turns. What a pool gave at the start of a slice it must have again at
// its end, and all that ran must have been taken away: that time counts.
func (b *bench) measureSustained(ctx context.Context) {
	type entry struct {
		*cell
		rates []float64
		n     int
		took  time.Duration
	}
	var entries []*entry
	for _, c := range b.contenders {
		if c.sustained {
			entries = append(entries, &entry{cell: &cell{contender: c, callers: sustainedCallers}})
		}
	}
	slice := time.Duration(b.length) * time.Second / time.Duration(b.slices)
	for range b.slices {
		for _, e := range entries {
			if ctx.Err() != nil || e.missing != "" || e.failed > 0 && e.n == 0 {
				continue
			}
			n, took := e.sustain(ctx, slice)
			e.n, e.took = e.n+n, e.took+took
			e.rates = append(e.rates, float64(n)/took.Seconds())
		}
	}
	for _, e := range entries {
		row := SustainedRow{Contender: e.name, N: e.n, Failed: e.failed, Note: e.missing}
		if e.failure != "" {
			row.Note = e.failure
		}
		if e.n > 0 {
			row.PerSecond = float64(e.n) / e.took.Seconds()
			row.Low, row.High = slices.Min(e.rates), slices.Max(e.rates)
		}
		b.report.Sustained = append(b.report.Sustained, row)
	}
}

func (c *cell) sustain(ctx context.Context, slice time.Duration) (n int, took time.Duration) {
	c.settleFor(ctx)
	began := time.Now()
	c.rounds = nil
	c.call(ctx, func(int64) bool { return time.Since(began) < slice })
	c.settleFor(ctx)
	return len(c.rounds[0]), time.Since(began)
}

func (c *cell) settleFor(ctx context.Context) {
	if c.warm == nil {
		return
	}
	if _, err := c.warm.settle(ctx); err != nil {
		c.failed, c.failure = c.failed+1, err.Error()
	}
}

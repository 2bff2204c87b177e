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
	var entries []*entry
	for _, c := range b.contenders {
		if c.sustained {
			entries = append(entries, &entry{cell: &cell{contender: c, callers: sustainedCallers}})
		}
	}
	slice := time.Duration(b.length) * time.Second / time.Duration(b.slices)
	for i := range b.slices {
		for _, e := range entries {
			rate := 0.0
			if ctx.Err() == nil && e.worthwhile(i) {
				rate = e.sustain(ctx, b, slice)
			}
			e.rates = append(e.rates, rate)
		}
	}
	for _, e := range entries {
		row := SustainedRow{Contender: e.name, N: e.n, Failed: e.failed, Note: e.note()}
		if e.n > 0 {
			row.PerSecond, row.Slices = float64(e.n)/e.took.Seconds(), e.rates
			rates := measured(e.rates)
			row.Low, row.High = slices.Min(rates), slices.Max(rates)
		}
		b.report.Sustained = append(b.report.Sustained, row)
	}
}

// entry is a contender of the sustained rows.
type entry struct {
	*cell
	rates []float64 // a second, in each slice; 0 where it was not measured
	n     int
	took  time.Duration
}

// slowSlices is how many slices a contender has whose commands take long: they
// tell as much of it, and Docker's the run would take twice as long.
const slowSlices, slow = 2, 20.0

func (e *entry) worthwhile(slice int) bool {
	broken := e.failed > 0 && e.n == 0
	tooSlow := slice >= slowSlices && float64(e.n) < slow*e.took.Seconds()
	return e.missing == "" && !broken && !tooSlow && !e.hangs()
}

// sustain gives how many commands a second ran in one slice.
func (e *entry) sustain(ctx context.Context, b *bench, slice time.Duration) float64 {
	b.still(ctx)
	began := time.Now()
	n := len(e.call(ctx, func(int64) bool { return time.Since(began) < slice }))
	if e.warm != nil {
		if err := e.warm.settle(ctx); err != nil {
			e.failed, e.failure = e.failed+1, err.Error()
		}
	}
	took := time.Since(began)
	e.n, e.took = e.n+n, e.took+took
	return float64(n) / took.Seconds()
}

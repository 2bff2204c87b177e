package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
)

const (
	overloadCallers = 200
	probePause      = 20 * time.Millisecond
)

// measureOverload has far more callers than the machine can serve, and sees
// what they get, and whether an operator is still answered meanwhile.
func (b *bench) measureOverload(ctx context.Context) {
	row := OverloadRow{Callers: overloadCallers, Seconds: b.overload.Seconds(), Refusals: map[string]int{}}
	leaks, ok := b.endure(ctx, "overload", "after overload", func(c *creel) {
		// A sandbox for kill to send signals to.
		target, end, err := c.sleeper(ctx, b, packed)
		b.tb.Check(err)
		busy, stop := context.WithTimeout(ctx, b.overload)
		defer stop()
		var all sync.WaitGroup
		all.Go(func() { b.probe(busy, c, target, &row) })
		served := c.flood(ctx, busy, b, &row)
		all.Wait()
		end()
		row.Served = len(served)
		row.P50, row.P99 = middle(served), quantile(served, .99)
	})
	if !ok {
		return
	}
	row.Leaks = leaks
	b.report.Overload = &row
}

// flood calls until busy ends, and lets the calls under way come to theirs.
// A refusal is no reason to call again at once.
func (c *creel) flood(ctx, busy context.Context, b *bench, row *OverloadRow) []float64 {
	var mu sync.Mutex
	var served []float64
	var callers sync.WaitGroup
	once := c.once(b, warm)
	for range overloadCallers {
		callers.Go(func() {
			for busy.Err() == nil {
				took, err := timed(ctx, once)
				mu.Lock()
				if err == nil {
					served = append(served, took)
				} else {
					row.Refusals[reason(err)]++
				}
				mu.Unlock()
				if err != nil {
					_ = sleep(busy, 100*time.Millisecond)
				}
			}
		})
	}
	callers.Wait()
	return served
}

// reason is a refusal's stable word, or all of another error.
func reason(err error) string {
	var refused *api.Error
	if errors.As(err, &refused) {
		return refused.Code
	}
	return err.Error()
}

// probe asks what an operator asks. SIGCONT does a running command nothing.
func (b *bench) probe(ctx context.Context, c *creel, id string, row *OverloadRow) {
	var ps, kill []float64
	for ctx.Err() == nil {
		took, err := timed(context.WithoutCancel(ctx), func(ctx context.Context) error { _, err := c.Ps(ctx, false); return err })
		ps = append(ps, took)
		if err != nil {
			row.Refusals["ps: "+reason(err)]++
		}
		took, err = timed(context.WithoutCancel(ctx), func(ctx context.Context) error {
			_, err := c.Kill(ctx, api.KillRequest{IDs: []string{id}, Signal: int(unix.SIGCONT)})
			return err
		})
		kill = append(kill, took)
		if err != nil {
			row.Refusals["kill: "+reason(err)]++
		}
		_ = sleep(ctx, probePause)
	}
	row.Ps50, row.Ps99, row.Kill50, row.Kill99 = middle(ps), quantile(ps, .99), middle(kill), quantile(kill, .99)
	row.Probes = len(ps)
}

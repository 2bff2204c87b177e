package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/client"
)

// starters is how many sandboxes of many are asked for at a time.
const starters = 16

// measureMany has hundreds of sandboxes alive at once and ends them.
func (b *bench) measureMany(ctx context.Context) {
	c := b.rig("crun")
	if c == nil {
		b.report.problem("many: there is no supervisor with crun")
		return
	}
	p := &pool{creel: c, policy: warm}
	_, err := p.settle(ctx)
	b.tb.check(err)
	before := c.steady()
	row := ManyRow{N: b.many, MemoryBefore: pss([]int{c.Pid()})}
	began := time.Now()
	over := c.startMany(ctx, b, &row)
	row.Start = time.Since(began).Seconds()
	_, row.Alive, err = p.count(ctx)
	b.tb.check(err)
	row.MemoryDuring = pss([]int{c.Pid()})
	began = time.Now()
	_, err = c.Kill(ctx, api.KillRequest{All: true, Signal: int(unix.SIGKILL)})
	b.tb.check(err)
	over.Wait()
	_, err = p.settle(ctx)
	b.tb.check(err)
	row.End = time.Since(began).Seconds()
	row.Leaks = c.leaks(ctx, b, before)
	row.MemoryAfter = pss([]int{c.Pid()})
	b.report.leaked("after many at once", row.Leaks)
	if row.Alive != row.N {
		b.report.problem("many at once: %d of %d were alive: %s", row.Alive, row.N, row.Note)
	}
	b.report.Many = &row
}

// startMany returns when every sandbox has started or failed; over is done
// when all have ended.
func (c *creel) startMany(ctx context.Context, b *bench, row *ManyRow) (over *sync.WaitGroup) {
	var mu sync.Mutex
	var begun sync.WaitGroup
	over = &sync.WaitGroup{}
	places := make(chan struct{}, starters)
	for range row.N {
		places <- struct{}{}
		begun.Add(1)
		over.Go(func() {
			running := sync.OnceFunc(func() { <-places; begun.Done() })
			defer running()
			result, err := c.Exec(ctx, &client.Exec{Request: b.request(packed, "sleep", "100000"), Started: func(string) { running() }})
			if err == nil && result.Reason != api.ReasonKilled {
				err = fmt.Errorf("one ended by itself: %s", result.Reason)
			}
			if err != nil {
				mu.Lock()
				row.Note = err.Error()
				mu.Unlock()
			}
		})
	}
	begun.Wait()
	return over
}

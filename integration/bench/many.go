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
	row := ManyRow{N: b.many}
	leaks, ok := b.endure(ctx, "many", "after many at once", func(c *creel) {
		row.MemoryBefore = pss([]int{c.Pid()})
		began := time.Now()
		over := c.startMany(ctx, b, &row)
		row.Start = time.Since(began).Seconds()
		var err error
		_, row.Alive, err = c.count(ctx)
		b.tb.Check(err)
		row.MemoryDuring = pss([]int{c.Pid()})
		began = time.Now()
		_, err = c.Kill(ctx, api.KillRequest{All: true, Signal: int(unix.SIGKILL)})
		b.tb.Check(err)
		over.Wait()
		b.tb.Check(c.settle(ctx))
		row.End = time.Since(began).Seconds()
	})
	if !ok {
		return
	}
	row.Leaks = leaks
	row.MemoryAfter = pss([]int{b.rig("crun").Pid()})
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

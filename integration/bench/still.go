package main

import (
	"context"
	"fmt"
	"time"
)

// What a contender leaves to be done, a pool to be filled or sandboxes to be
// taken away, must not be done while the next one is measured.

const (
	// pause is how long nothing happens before a round, and before each paced
	// call: the kernel has taken away by then what it takes away later, and the
	// processors sleep as they do before the command of a chat message.
	pause = 25 * time.Millisecond
	// pollPause is short beside what it takes to fill a pool, and long beside
	// what a question costs the supervisor.
	pollPause = 10 * time.Millisecond
	// fillTime is how long an empty pool may take until it is full, and
	// stillTime how long it must not have grown when it does not become full.
	fillTime  = 60 * time.Second
	stillTime = 2 * time.Second
)

// still waits until no supervisor makes or takes away a sandbox, and a pause.
func (b *bench) still(ctx context.Context) {
	b.settle(ctx)
	_ = sleep(ctx, pause)
}

// settle waits for each supervisor. One that does not come to rest is waited
// for once: the rows of its contenders say so.
func (b *bench) settle(ctx context.Context) {
	for _, c := range b.rigs {
		if was := c.stuck; c.settle(ctx) != nil && was == nil && ctx.Err() == nil {
			b.say("%v", c.stuck)
		}
	}
}

// settle waits until nothing runs, nothing is being taken away, and the pool
// has what it will have. What the engine asks, a Docker daemon, may be stuck.
func (c *creel) settle(ctx context.Context) error {
	if c.stuck != nil {
		return c.stuck
	}
	ctx, cancel := context.WithTimeoutCause(ctx, fillTime, fmt.Errorf("sandboxes are still made or taken away after %v", fillTime))
	defer cancel()
	if err := c.rest(ctx); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		c.stuck = fmt.Errorf("creel, %s: %w", c.maker, err)
	}
	return c.stuck
}

func (c *creel) rest(ctx context.Context) error {
	most, grew := 0, time.Now()
	for {
		waiting, busy, err := c.count(ctx)
		if err != nil {
			return err
		}
		still := time.Since(grew) > stillTime
		if busy == 0 && (waiting >= c.size || c.absent || still) {
			c.waiting, c.absent = waiting, waiting == 0
			return nil
		}
		if waiting > most || busy > 0 {
			most, grew = waiting, time.Now()
		}
		if err := sleep(ctx, pollPause); err != nil {
			return err
		}
	}
}

// count tells the sandboxes of the pool from all others.
func (c *creel) count(ctx context.Context) (waiting, busy int, err error) {
	reply, err := c.Ps(ctx, false)
	if err != nil {
		return 0, 0, err
	}
	for _, sandbox := range reply.Sandboxes {
		if sandbox.State == "warm" {
			waiting++
		} else {
			busy++
		}
	}
	return waiting, busy, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

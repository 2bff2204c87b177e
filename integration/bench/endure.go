package main

import "context"

// endure puts the supervisor of crun under a strain, and gives what is left of
// it once all is still again. It says so where there is no such supervisor.
func (b *bench) endure(ctx context.Context, part, when string, strain func(*creel)) (leaks []string, ok bool) {
	c := b.rig("crun")
	if c == nil {
		b.report.unmeasured(part, "there is no supervisor with crun")
		return nil, false
	}
	if err := c.settle(ctx); err != nil {
		b.report.unmeasured(part, err.Error())
		return nil, false
	}
	before := c.steady()
	strain(c)
	leaks = c.leaks(ctx, b, before)
	for _, leak := range leaks {
		b.report.problem("left %s: %s", when, leak)
	}
	return leaks, true
}

// rig is the supervisor of a maker, or nil.
func (b *bench) rig(maker string) *creel {
	for _, c := range b.rigs {
		if c.maker == maker {
			return c
		}
	}
	return nil
}

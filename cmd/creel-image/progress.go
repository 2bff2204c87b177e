package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/creel-sandbox/creel/runner/image/fetch"
)

// progress shows bars on a terminal, and otherwise a line when a step ends.
type progress struct {
	bars  *mpb.Progress // nil without a terminal
	lines io.Writer
}

func newProgress(ctx context.Context, quiet bool) *progress {
	switch {
	case quiet:
		return &progress{lines: io.Discard}
	case term.IsTerminal(int(os.Stderr.Fd())):
		return &progress{bars: mpb.NewWithContext(ctx, mpb.WithOutput(os.Stderr), mpb.WithWidth(40)), lines: os.Stderr}
	}
	return &progress{lines: os.Stderr}
}

// close leaves the bars as they are at the end.
func (p *progress) close() {
	if p.bars != nil {
		p.bars.Shutdown()
	}
}

// Wait implements fetch.Progress.
func (p *progress) Wait() {
	fmt.Fprintln(p.lines, "creel: notice: another creel image is at work; waiting for it")
}

// Start implements fetch.Progress.
func (p *progress) Start(what string, total int64) fetch.Step {
	if p.bars == nil {
		return &line{what: what, to: p.lines}
	}
	return bar{p.bars.AddBar(total,
		mpb.PrependDecorators(decor.Name(what, decor.WCSyncSpaceR)),
		mpb.AppendDecorators(decor.CountersKibiByte("% .1f / % .1f")))}
}

type bar struct{ *mpb.Bar }

func (b bar) Advance(n int64) { b.IncrInt64(n) }
func (b bar) Restart()        { b.SetCurrent(0) }
func (b bar) Done()           { b.SetTotal(-1, true) }

type line struct {
	what string
	to   io.Writer
	read atomic.Int64
}

func (l *line) Advance(n int64) { l.read.Add(n) }
func (l *line) Restart()        { l.read.Store(0) }
func (l *line) Done()           { fmt.Fprintf(l.to, "%s: %d bytes\n", l.what, l.read.Load()) }

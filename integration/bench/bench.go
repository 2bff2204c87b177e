package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/creel-sandbox/creel/integration/dockerd"
)

// options are what the command line says.
type options struct {
	quick, profile    bool
	seconds           int
	out, only, readme string
	match             string
}

// scale is how much is measured.
type scale struct {
	rounds   int           // of the latency rows
	budget   time.Duration // of one contender in one round, while it is fast
	length   int           // of a sustained row, in seconds
	slices   int           // that it is measured in, in turns
	repeats  int           // of each throughput row
	drift    int           // invocations in a row
	many     int           // sandboxes at once
	overload time.Duration
	launches int // of a profile
}

func (o options) scale() scale {
	s := scale{rounds: 10, budget: 500 * time.Millisecond, length: 60, slices: 6, repeats: 5, drift: 10_000, many: 500,
		overload: 30 * time.Second, launches: 200}
	if o.quick {
		s = scale{rounds: 2, budget: 200 * time.Millisecond, length: 5, slices: 2, repeats: 1, drift: 500, many: 100,
			overload: 5 * time.Second, launches: 40}
	}
	if o.seconds > 0 {
		s.length = o.seconds
	}
	return s
}

// bench is one run.
type bench struct {
	tb *lasting
	options
	scale
	dir      string
	busybox  string          // the static one that every contender runs
	null     *os.File        // everybody's standard streams
	complain *os.File        // everybody's standard error
	gateway  string          // what policies name as theirs; somebody listens there
	docker   *dockerd.Daemon // nil where there is none

	contenders []*contender
	rigs       []*creel
	report     Report
}

// part is one thing to measure.
type part struct {
	name string
	do   func(*bench, context.Context)
}

var parts = []part{
	{"latency", (*bench).measureLatency},
	{"sustained", (*bench).measureSustained},
	{"memory", (*bench).measureMemory},
	{"throughput", (*bench).measureThroughput},
	{"drift", (*bench).measureDrift},
	{"many", (*bench).measureMany},
	{"overload", (*bench).measureOverload},
}

func run(ctx context.Context, o options) error {
	if os.Geteuid() != 0 {
		return errors.New("creeld makes namespaces and mounts: run it as root")
	}
	b := &bench{tb: &lasting{}, options: o, scale: o.scale()}
	b.report.begin(b)
	err := b.tb.try(func() { b.measure(ctx) })
	b.tb.end()
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	b.report.Problems = append(b.report.Problems, b.tb.failed...)
	if !o.profile {
		if err := b.write(); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
	}
	if len(b.report.Problems) > 0 {
		return fmt.Errorf("%d problems:\n  %s", len(b.report.Problems), strings.Join(b.report.Problems, "\n  "))
	}
	return nil
}

func (b *bench) measure(ctx context.Context) {
	b.prepare()
	if b.profile {
		b.startCreel("crun", "runc")
		b.printProfile(ctx)
		return
	}
	match, err := regexp.Compile(b.match)
	b.tb.check(err)
	b.addPeers()
	b.startCreel("crun", "runc", "docker")
	b.contenders = slices.DeleteFunc(b.contenders, func(c *contender) bool { return !match.MatchString(c.name) })
	for _, p := range parts {
		if ctx.Err() != nil || b.only != "" && !strings.Contains(","+b.only+",", ","+p.name+",") {
			continue
		}
		began := time.Now()
		b.say("%s", p.name)
		p.do(b, ctx)
		b.say("%s took %.0f s", p.name, time.Since(began).Seconds())
	}
	b.stopCreel()
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
}

func (b *bench) prepare() {
	var err error
	b.dir, err = os.MkdirTemp("/tmp", "creel-bench-")
	b.tb.check(err)
	b.tb.Cleanup(func() { b.tb.check(os.RemoveAll(b.dir)) })
	b.busybox, err = findBusybox()
	b.tb.check(err)
	b.null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0)
	b.tb.check(err)
	b.complain, err = os.OpenFile(filepath.Join(b.dir, "stderr"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	b.tb.check(err)
	b.tb.Cleanup(func() { b.null.Close(); b.complain.Close() })
	b.gateway = b.listen()
}

// listen stands for OpenClaw's gateway.
func (b *bench) listen() string {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	b.tb.check(err)
	b.tb.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	return listener.Addr().String()
}

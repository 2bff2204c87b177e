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
	"github.com/creel-sandbox/creel/integration/testrig"
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
	most     time.Duration // in which the rounds of one number of callers begin
	paced    int           // calls that one paced caller makes at least in one round
	longest  time.Duration // that one call may take
	length   int           // of a sustained row, in seconds
	slices   int           // that it is measured in, in turns
	repeats  int           // of each throughput row
	drift    int           // invocations in a row
	many     int           // sandboxes at once
	overload time.Duration
	launches int // of a profile
}

func (o options) scale() scale {
	s := scale{rounds: 8, budget: 500 * time.Millisecond, most: 15 * time.Minute, paced: 128, longest: 30 * time.Second, length: 60, slices: 6, repeats: 5, drift: 10_000, many: 500,
		overload: 30 * time.Second, launches: 200}
	if o.quick {
		s = scale{rounds: 2, budget: 200 * time.Millisecond, most: 30 * time.Second, paced: 16, longest: 15 * time.Second, length: 4, slices: 2, repeats: 1, drift: 500, many: 100,
			overload: 5 * time.Second, launches: 40}
	}
	if o.seconds > 0 {
		s.length = o.seconds
	}
	return s
}

// bench is one run.
type bench struct {
	tb *testrig.Lasting
	options
	scale
	pattern  *regexp.Regexp // of the names of contenders
	chosen   []part
	dir      string
	busybox  string          // the static one that every contender runs
	null     *os.File        // everybody's standard streams
	complain *os.File        // everybody's standard error
	gateway  string          // what policies name as theirs; somebody listens there
	docker   *dockerd.Daemon // nil until it is needed
	plain    contender       // what creel's own drift is told from the machine's by

	contenders []*contender
	rigs       []*creel
	report     Report
}

// part is one thing to measure.
type part struct {
	name   string
	makers []string // whose supervisors it needs, if there are such
	all    bool     // it measures the contenders
	do     func(*bench, context.Context)
}

// makers are what makes sandboxes, each with a supervisor of its own.
var makers = []string{"crun", "runc", "docker"}

var parts = []part{
	{"latency", makers, true, (*bench).measureLatency},
	{"sustained", makers, true, (*bench).measureSustained},
	{"memory", makers, false, (*bench).measureMemory},
	{"throughput", makers[:1], false, (*bench).measureThroughput},
	{"drift", makers[:1], false, (*bench).measureDrift},
	{"many", makers[:1], false, (*bench).measureMany},
	{"overload", makers[:1], false, (*bench).measureOverload},
}

// choose compiles what is to be measured.
func (b *bench) choose() (err error) {
	if b.pattern, err = regexp.Compile(b.match); err != nil {
		return fmt.Errorf("-match: %w", err)
	}
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
		if b.only == "" || slices.Contains(strings.Split(b.only, ","), p.name) {
			b.chosen = append(b.chosen, p)
		}
	}
	for _, name := range strings.Split(b.only, ",") {
		if name != "" && !slices.Contains(names, name) {
			return fmt.Errorf("-only: there is no part %q: %s", name, strings.Join(names, ", "))
		}
	}
	return nil
}

// measures reports whether a part is chosen that measures one of these.
func (b *bench) measures(contenders ...string) bool {
	return slices.ContainsFunc(b.chosen, func(p part) bool { return p.all }) && slices.ContainsFunc(contenders, b.pattern.MatchString)
}

// needs reports whether a part is chosen that needs a maker's supervisor, and
// one of its contenders.
func (b *bench) needs(maker string) bool {
	return slices.ContainsFunc(b.chosen, func(p part) bool { return slices.Contains(p.makers, maker) }) &&
		slices.ContainsFunc(creelNames(maker), b.pattern.MatchString)
}

func run(ctx context.Context, o options) error {
	if os.Geteuid() != 0 {
		return errors.New("creeld makes namespaces and mounts: run it as root")
	}
	b := &bench{tb: &testrig.Lasting{Prefix: "bench: "}, options: o, scale: o.scale()}
	if err := b.choose(); err != nil {
		return err
	}
	b.report.begin(b)
	err := b.tb.Try(func() { b.measure(ctx) })
	b.tb.End()
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	b.report.Problems = append(b.report.Problems, b.tb.Failures()...)
	if !o.profile {
		if err := b.write(); err != nil {
			return fmt.Errorf("write report: %w", err)
		}
		fmt.Print(b.report.markdown())
	}
	if len(b.report.Problems) > 0 {
		return fmt.Errorf("%d problems:\n  %s", len(b.report.Problems), strings.Join(b.report.Problems, "\n  "))
	}
	return nil
}

func (b *bench) measure(ctx context.Context) {
	b.prepare()
	if b.profile {
		b.startCreel("crun")
		b.startCreel("runc")
		b.printProfile(ctx)
		return
	}
	b.addPeers()
	for _, maker := range makers {
		if b.needs(maker) {
			b.startCreel(maker)
		}
	}
	for _, p := range b.chosen {
		if ctx.Err() != nil {
			break
		}
		began := time.Now()
		b.say("%s", p.name)
		b.still(ctx)
		p.do(b, ctx)
		b.say("%s took %.0f s", p.name, time.Since(began).Seconds())
		b.tb.Check(b.write()) // what is known by then, should the rest be cut short
	}
	b.stopCreel()
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
}

func (b *bench) prepare() {
	var err error
	b.dir, err = os.MkdirTemp("/tmp", "creel-bench-")
	b.tb.Check(err)
	b.tb.Cleanup(func() { b.tb.Check(os.RemoveAll(b.dir)) })
	b.busybox, err = findBusybox()
	b.tb.Check(err)
	b.null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0)
	b.tb.Check(err)
	b.complain, err = os.OpenFile(filepath.Join(b.dir, "stderr"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	b.tb.Check(err)
	b.tb.Cleanup(func() { b.null.Close(); b.complain.Close() })
	b.gateway = b.listen()
	b.plain = b.program(plain, true, nil, b.busybox, "true")
}

// listen stands for OpenClaw's gateway.
func (b *bench) listen() string {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	b.tb.Check(err)
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

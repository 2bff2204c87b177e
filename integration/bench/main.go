// Command bench measures one command in a fresh sandbox, and all that an
// operator pays for it, side by side with what people use otherwise: plain
// fork and exec, bubblewrap, crun, runc, docker run and docker exec, in the
// same run and in turns, so that a machine's moods hit all alike.
//
// It may import the standard library, x/sys, runner/api, runner/client,
// runner/pidfd, testrig and dockerd. It needs root, ends only what it started, and never
// fails for a figure, only for what went wrong or was left behind.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	var o options
	flag.BoolVar(&o.quick, "quick", false, "a small run, to see that all works")
	flag.IntVar(&o.seconds, "seconds", 0, "length of each sustained row (60; 4 with -quick)")
	flag.StringVar(&o.out, "out", "bin/bench", "directory of bench.md, bench.json and bench.svg")
	flag.StringVar(&o.only, "only", "", "comma-separated parts: latency,sustained,memory,throughput,drift,many,overload")
	flag.StringVar(&o.match, "match", "", "measure only contenders whose name has this regular expression (RE2)")
	flag.StringVar(&o.readme, "readme", "", "also put the table between this file's markers, and the plot beside the program")
	flag.BoolVar(&o.profile, "profile", false, "say where the time goes, and measure nothing else")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: error:", err)
		os.Exit(1)
	}
}

package main

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A virtual machine's processors are taken away now and then by what else its
// host does, and then all that is measured takes longer. The kernel knows how
// long, from the hypervisor.

// userHz is the unit of /proc/stat, USER_HZ of the kernel's interface: 100 a
// second on every Linux that Go runs on (proc_stat(5)).
const userHz = 100

// stolen is how long the host has kept all processors together from running,
// in whole ticks, so what is shorter is counted later or with the next; 0 on a
// machine that is none but its own.
func stolen() (time.Duration, error) {
	line, _, _ := strings.Cut(read("/proc/stat"), "\n")
	fields := strings.Fields(line)
	// cpu user nice system idle iowait irq softirq steal …
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, fmt.Errorf("read time stolen: /proc/stat begins with %q", line)
	}
	ticks, err := strconv.ParseInt(fields[8], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read time stolen: /proc/stat: %w", err)
	}
	return time.Duration(ticks) * time.Second / userHz, nil
}

// arithmetic is the contender that tells what of a tail is the machine's: it
// keeps every processor busy for about as long as a warm call takes, and asks
// nothing of the kernel, of the memory or of anybody else.
const arithmetic = "arithmetic on every processor"

// aboutACall is how long arithmetic is to take.
const aboutACall = 5 * time.Millisecond

func (b *bench) arithmetic() contender {
	const sample = 1_000_000
	steps := sample
	for range 3 { // the first finds the processors asleep
		began := time.Now()
		compute(sample)
		steps = int(sample * aboutACall / max(time.Since(began), 1))
	}
	return contender{name: paced(arithmetic), paced: true, once: func(context.Context) error {
		compute(steps)
		return nil
	}}
}

func compute(steps int) {
	var done sync.WaitGroup
	results := make([]uint64, runtime.NumCPU())
	for i := range results {
		done.Go(func() {
			x := uint64(i)
			for range steps {
				x = x*6364136223846793005 + 1442695040888963407
			}
			results[i] = x
		})
	}
	done.Wait()
	runtime.KeepAlive(results) // or the compiler might leave the arithmetic out
}

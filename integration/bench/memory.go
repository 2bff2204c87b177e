package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/creel-sandbox/creel/runner/client"
)

// measureMemory reads what the kernel charges to the processes that wait.
func (b *bench) measureMemory(ctx context.Context) {
	if len(b.rigs) == 0 {
		b.report.unmeasured("memory", "there is no supervisor")
	}
	for _, c := range b.rigs {
		if err := c.settle(ctx); err != nil {
			b.report.unmeasured("memory, "+c.maker, err.Error())
			continue
		}
		b.addMemory("creeld, "+c.maker, []int{c.Pid()})
		reply, err := c.Ps(ctx, false)
		b.tb.Check(err)
		var each []float64
		for _, sandbox := range reply.Sandboxes {
			if sandbox.State == warm && sandbox.Policy == warm {
				each = append(each, pss(descendants(sandbox.Pid)))
			}
		}
		row := MemoryRow{What: "one idle warm sandbox, " + c.maker, Of: len(each)}
		if len(each) == 0 {
			row.Note = "no sandbox waited"
		} else {
			row.MiB = middle(each)
			row.Low, row.High = between10and90(each)
		}
		b.report.Memory = append(b.report.Memory, row)
		b.addRunning(ctx, c)
	}
}

// addRunning is a sandbox whose command sleeps, the command left out.
func (b *bench) addRunning(ctx context.Context, c *creel) {
	what := "creel-init of a sandbox at work, " + c.maker
	if err := c.whileOneRuns(ctx, b, func(pid int) { b.addMemory(what, []int{pid}) }); err != nil {
		b.report.Memory = append(b.report.Memory, MemoryRow{What: what, Note: err.Error()})
	}
}

// whileOneRuns gives the pid of creel-init of a sandbox that it ends again.
func (c *creel) whileOneRuns(ctx context.Context, b *bench, do func(pid int)) error {
	ctx, cancel := context.WithTimeout(ctx, fillTime)
	defer cancel()
	id, end, err := c.sleeper(ctx, b, cold)
	if err != nil {
		return err
	}
	defer end()
	reply, err := c.Inspect(ctx, id)
	if err == nil {
		do(reply.Sandbox.Pid)
	}
	return err
}

// sleeper starts a sandbox that does nothing until it is ended.
func (c *creel) sleeper(ctx context.Context, b *bench, policy string) (id string, end func(), err error) {
	started, done := make(chan string, 1), make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		_, err := c.Exec(ctx, &client.Exec{Request: b.request(policy, "sleep", "100000"), Started: func(id string) { started <- id }})
		done <- err
	}()
	select {
	case id = <-started:
		return id, func() { cancel(); <-done }, nil
	case err = <-done:
		cancel()
		return "", nil, fmt.Errorf("start a sandbox: %w", err)
	}
}

func (b *bench) addMemory(what string, pids []int) {
	mib := pss(pids)
	b.report.Memory = append(b.report.Memory, MemoryRow{What: what, Of: 1, MiB: mib, Low: mib, High: mib})
}

// pss is the proportional set size of processes, in MiB: pages shared with
// others count by their share (proc_pid_smaps(5)).
func pss(pids []int) float64 {
	total := 0.0
	for _, pid := range pids {
		file, err := os.Open(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue // it has ended
		}
		for lines := bufio.NewScanner(file); lines.Scan(); {
			if rest, ok := strings.CutPrefix(lines.Text(), "Pss:"); ok {
				kib, _ := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 64)
				total += kib / 1024
			}
		}
		file.Close()
	}
	return total
}

// descendants are a process and all below it.
func descendants(pid int) []int {
	all := []int{pid}
	for i := 0; i < len(all); i++ {
		all = append(all, children(all[i])...)
	}
	return all
}

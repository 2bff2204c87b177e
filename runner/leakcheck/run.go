package leakcheck

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/client"
)

// Options say what is to be run, and what is to be left out.
type Options struct {
	Client *client.Client
	Policy string
	// Command is run in the sandbox beside what the check does itself; it may
	// be empty.
	Command []string
	// Except are names of places, and paths below which nothing is searched.
	Except []string
	// Devices are block devices that are to be searched from end to end.
	Devices []string
	// Hold is the beginning of an argv that calls Hold.
	Hold []string
}

// check is one run under way.
type check struct {
	Options
	canary, control Canary
	since           time.Time
	notes           *notes
	where           *api.PlacesReply
	systems         []*system
	watch           *watch
	holder          *holder
	procs           *processes
	kernel          *kernel
	sandbox         string
	group           string
}

// The controls that a process holds, in each of the two searches.
const (
	whileItRuns = "while the command runs"
	onceItEnded = "once it has ended"
)

// Run plants a canary, runs a command with it, searches, and gives a report.
// An error says that nothing can be said: the canary was not planted, or there
// was no way to search. ctx bounds all of it.
func Run(ctx context.Context, o Options) (*Report, error) {
	type outcome struct {
		report *Report
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		report, err := run(ctx, o)
		done <- outcome{report, err}
	}()
	select {
	case end := <-done:
		return end.report, end.err
	case <-ctx.Done():
	}
	// It ends by itself, unless a file system keeps it waiting.
	select {
	case end := <-done:
		return end.report, end.err
	case <-time.After(controlWait):
		return nil, fmt.Errorf("search: a file system does not answer: %w", context.Cause(ctx))
	}
}

func run(ctx context.Context, o Options) (*Report, error) {
	var err error
	c := &check{Options: o, canary: NewCanary(), control: NewCanary(), since: time.Now().Add(-clockSlack)}
	c.notes = newNotes(c.canary, o.Except)
	if c.where, err = o.Client.Places(ctx, o.Policy); err != nil {
		return nil, err
	}
	if err := c.seesHost(); err != nil {
		return nil, err
	}
	if c.holder, err = startHolder(o.Hold, c.control); err != nil {
		return nil, err
	}
	defer c.holder.close()
	c.procs = &processes{notes: c.notes, sought: newSought(ctx, c.canary, c.control), supervisor: c.where.Pid, hold: c.holder.pid()}
	c.kernel = &kernel{notes: c.notes, sought: newSought(ctx, c.canary, c.control), control: c.control, hold: c.holder.pid()}
	if err := c.startWatch(ctx); err != nil {
		return nil, err
	}
	result, err := c.plant(ctx)
	if endErr := errors.Join(c.watch.close(), c.holder.close()); endErr != nil {
		c.notes.problem(theCheck, "%v", endErr)
	}
	if err != nil {
		return nil, err
	}
	return c.report(result), nil
}

// clockSlack is how far the coarse clock that files are stamped with may be
// behind, and more.
const clockSlack = 10 * time.Second

// changedSince is from when on a file on a device can hold the canary, by the
// clock that stamps its files, which is a server's where that keeps them.
func (c *check) changedSince(device uint64) time.Time {
	if stamp, ok := c.watch.stamp(device); ok && stamp.Add(-clockSlack).Before(c.since) {
		return stamp.Add(-clockSlack)
	}
	return c.since
}

// seesHost refuses to search where creeld is not: in a container, /proc shows
// its own processes only.
func (c *check) seesHost() error {
	program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", c.where.Pid)) // "… (deleted)" after an upgrade (proc(5))
	if err != nil || strings.TrimSuffix(filepath.Base(program), " (deleted)") != "creeld" {
		return &api.Error{Code: "not-here", ExitCode: api.ExitFailed, Message: fmt.Sprintf("process %d is not creeld here, as it says it is", c.where.Pid),
			Hint: "run it on the host itself, in no container and no PID namespace of its own"}
	}
	return nil
}

// engineDaemons are those that get to know of a sandbox of the docker engine.
var engineDaemons = []string{"dockerd", "containerd"}

// startWatch begins to watch every file system that this process, creeld and
// the engine's daemons have mounted, and shows that it sees what is written.
func (c *check) startWatch(ctx context.Context) error {
	members := []int{os.Getpid(), c.where.Pid}
	all, err := pids()
	if err != nil {
		return fmt.Errorf("list processes: %w", err)
	}
	for _, pid := range all {
		comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err == nil && slices.Contains(engineDaemons, strings.TrimSpace(string(comm))) {
			members = append(members, pid)
		}
	}
	found, err := systemsOf(members)
	if err != nil {
		return err
	}
	for _, s := range found {
		switch {
		case c.notes.leftOut(s.mount.info.Mountpoint), c.notes.leftOut(s.place()):
			c.notes.leaveOut(s.place())
		case s.unreached != nil:
			c.notes.problem(s.place(), "%v", s.unreached)
		default:
			c.systems = append(c.systems, s)
		}
	}
	c.watch, err = newWatch(c.notes, newSought(ctx, c.canary, c.control), c.systems)
	return err
}

// controlWait is how long a control may take to be found where it was written.
const controlWait = 20 * time.Second

// showWatch writes the control to every file system and waits until it is
// found, which is when all that was written before it is searched.
func (c *check) showWatch(ctx context.Context, when string) {
	ctx, cancel := context.WithTimeout(ctx, controlWait)
	defer cancel()
	waits := map[*system]<-chan struct{}{}
	for _, s := range c.systems {
		c.notes.expect(s.place(), "files searched", deletedFile+" "+when)
		found, err := within(reachWait, func() (<-chan struct{}, error) { return c.watch.control(s, c.control) })
		if err != nil {
			c.notes.problem(s.place(), "write control: %v", err)
			continue
		}
		waits[s] = found
	}
	for s, found := range waits {
		select {
		case <-found:
			c.notes.found(s.place(), deletedFile+" "+when)
		case <-ctx.Done():
		}
	}
}

// theCheck is the place of what went wrong with the check once it had begun.
const theCheck = "the check itself"

// plant runs the command with the canary, and searches while it runs and once
// it has ended. Whatever goes wrong from then on, what was found is told.
func (c *check) plant(ctx context.Context) (*api.Result, error) {
	c.showWatch(ctx, "before the command")
	run := begin(ctx, c.Client, c.Policy, c.Command, c.where.Variables, c.canary, c.notes)
	searchErr := c.whileItRuns(ctx, run)
	run.release()
	<-run.ended
	if run.err != nil && c.sandbox == "" && !brokenOff(ctx, run.err) {
		return nil, run.err
	}
	if err := errors.Join(searchErr, run.err); err != nil {
		c.notes.problem(theCheck, "%v", err)
	}
	c.search(ctx, onceItEnded, true)
	lookAtJournal(ctx, c.notes, newSought(ctx, c.canary, c.control), c.control, c.since)
	c.showWatch(ctx, "after the command")
	for _, device := range c.Devices {
		c.lookAtDevice(device)
	}
	if err := context.Cause(ctx); err != nil {
		c.notes.problem(theCheck, "it was ended before its end: %v", err)
	}
	if run.result == nil {
		return &api.Result{Reason: api.ReasonLost, ExitCode: api.ExitFailed}, nil
	}
	return run.result, nil
}

// brokenOff says that a command may have run though nobody was told that it did.
func brokenOff(ctx context.Context, err error) bool {
	var known *api.Error
	return ctx.Err() != nil || errors.As(err, &known) && known.Code == api.CodeLost
}

// planted is the place of what shows that there was something to be found.
const planted = "environment of the command"

// again is how long after one look at all processes the next one begins.
const again = 50 * time.Millisecond

// whileItRuns looks at all processes again and again until the command has
// printed what it prints, and then once at everything.
func (c *check) whileItRuns(ctx context.Context, run *command) error {
	c.notes.expect(theCheck, "errors")
	c.notes.expect(planted, "processes that have the canary, as they should", "the canary itself")
	c.procs.expect(whileItRuns)
	select {
	case c.sandbox = <-run.started:
	case <-run.ended:
		select {
		case c.sandbox = <-run.started: // it had been, too
		default:
			return nil // it says why
		}
	}
	inspected, err := c.Client.Inspect(ctx, c.sandbox)
	if err != nil {
		return err
	}
	c.group = inspected.Cgroup
	if err := c.procs.enter(inspected.Sandbox.Pid); err != nil {
		return err
	}
	c.notes.ofCommand(c.procs.space)
	timer := time.NewTicker(again)
	defer timer.Stop()
	for waiting := true; waiting; {
		c.procs.look(whileItRuns)
		select {
		case <-timer.C:
		case <-run.printed:
			waiting = false
		case <-run.ended:
			waiting = false
		}
	}
	c.procs.holders = 0
	c.search(ctx, whileItRuns, false)
	c.kernel.lookAtGroups(ctx, c.group)
	c.procs.lookAtSwap()
	if c.procs.holders > 0 {
		c.notes.found(planted, "the canary itself")
		c.notes.searched(planted, c.procs.holders)
	}
	select {
	case <-run.ended:
		c.notes.problem(planted, "the command was ended before everything was searched: raise 'limits.timeout' of the policy")
	default:
	}
	return nil
}

// search looks once at everything that is not watched.
func (c *check) search(ctx context.Context, when string, ended bool) {
	c.procs.expect(when)
	c.kernel.expect(when)
	c.procs.look(when)
	c.procs.lookAtFiles(when)
	c.kernel.look(when)
	c.ask(ctx, when, ended)
	c.atRest(ctx, when)
}

// ask searches what creel tells an operator of the sandbox.
func (c *check) ask(ctx context.Context, when string, ended bool) {
	answers := map[string]func() (any, error){
		"creel ps":      func() (any, error) { return c.Client.Ps(ctx, ended) },
		"creel inspect": func() (any, error) { return c.Client.Inspect(ctx, c.sandbox) },
		"creel logs": func() (any, error) {
			said := ""
			err := c.Client.Logs(ctx, api.LogsRequest{ID: c.sandbox}, func(chunk api.LogChunk) error { said += string(chunk.Data); return nil })
			return said, err
		},
	}
	for name, asked := range answers {
		answer, err := asked()
		text, encodeErr := json.Marshal(answer)
		var known *api.Error
		if errors.As(err, &known) && known.Code == "no-logs" {
			err = nil
		}
		if err := errors.Join(err, encodeErr); err != nil {
			c.notes.problem(given, "%s %s: %v", name, when, err)
			continue
		}
		c.notes.searched(given, 1)
		c.notes.leak(given, name+" "+when, process{}, c.kernel.sought.in(text))
		if name == "creel logs" && string(text) != `""` && !strings.Contains(string(text), "[redacted:") {
			c.notes.problem(given, "%s %s does not have what was redacted", name, when)
		}
		if name == "creel ps" && !strings.Contains(string(text), c.sandbox) {
			c.notes.problem(given, "%s %s does not have the sandbox", name, when)
		}
	}
}

// report is what is known in the end.
func (c *check) report(result *api.Result) *Report {
	r := &Report{Policy: c.Policy, Engine: c.where.Engine, Variables: c.where.Variables, Sandbox: c.sandbox,
		Reason: result.Reason, ExitCode: result.ExitCode, LeftOut: append([]string{}, c.Except...), Limits: limits}
	c.notes.fill(r)
	return r
}

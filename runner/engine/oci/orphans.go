package oci

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/kernelfile"
	"github.com/creel-sandbox/creel/runner/rootfs"
)

// A leash is a pipe that every process of one run of the runtime holds the
// writing end of. crun --detach leaves its process group, so killing the
// group does not end it; the leash finds what is left, and its end of file
// says that nothing is. Inits do not hold it: the runtime closes in them all
// descriptors but those it was told to keep.
type leash struct {
	read, held *os.File
}

func newLeash() (*leash, error) {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("make leash: %w", err)
	}
	return &leash{read: os.NewFile(uintptr(ends[0]), "leash"), held: os.NewFile(uintptr(ends[1]), "held leash")}, nil
}

func (l *leash) close() {
	l.held.Close()
	l.read.Close()
}

// leashTimeout bounds the wait for what was killed to be gone.
const leashTimeout = 5 * time.Second

// end kills what a run that failed or was cancelled has left, and returns
// once nothing of it is left. What is killed is or becomes the supervisor's
// child, because its parents are dead (PR_SET_CHILD_SUBREAPER, prctl(2)).
func (l *leash) end() error {
	l.held.Close()
	// What /proc/PID/fd shows of a pipe is the same for both of its ends.
	target, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", l.read.Fd()))
	if err != nil {
		return fmt.Errorf("end run of the runtime: %w", err)
	}
	for deadline := time.Now().Add(leashTimeout); !l.dropped(); {
		if time.Now().After(deadline) {
			return fmt.Errorf("end run of the runtime: %w", os.ErrDeadlineExceeded)
		}
		for _, pid := range kill(target) {
			collect(pid)
		}
	}
	return nil
}

// kill ends the children that hold the leash with this target. No process is started meanwhile:
// until its execve(2) it would hold every leash there is.
func kill(target string) []int {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	var killed []int
	for _, pid := range children() {
		if holds(pid, target) {
			_ = unix.Kill(pid, unix.SIGKILL) // our child: the number is still its
			killed = append(killed, pid)
		}
	}
	return killed
}

// dropped waits a moment for the last holder to end.
func (l *leash) dropped() bool {
	fds := []unix.PollFd{{Fd: int32(l.read.Fd()), Events: unix.POLLIN}}
	n, err := unix.Poll(fds, 1) // ms
	return err == nil && n == 1 && fds[0].Revents&unix.POLLHUP != 0
}

func holds(pid int, target string) bool {
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return false
	}
	return slices.ContainsFunc(links, func(link string) bool {
		shown, err := os.Readlink(link)
		return err == nil && shown == target
	})
}

// children lists the supervisor's children (proc(5), /proc/PID/task/TID/children).
func children() []int {
	threads, err := kernelfile.Names(kernelfile.Path, "/proc/self/task")
	if err != nil {
		return nil
	}
	var pids []int
	for _, thread := range threads {
		// A thread that has ended has none.
		text, _ := kernelfile.Read(kernelfile.Path, "/proc/self/task/"+thread+"/children")
		for _, field := range strings.Fields(text) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// orphanPause is the time between two looks for orphans, which look at every
// child of every thread. As many orphans as sandboxes end in it wait, dead.
const orphanPause = 250 * time.Millisecond

// orphans are looked for soon after a removal, once for all that come close
// together.
type orphans struct {
	mu     sync.Mutex // held while they are looked for
	timer  *time.Timer
	closed bool
}

func (o *orphans) collect(e *Engine) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.timer == nil && !o.closed {
		o.timer = time.AfterFunc(orphanPause, func() { o.look(e) })
	}
}

// look collects, and comes back for what has not quite ended.
func (o *orphans) look(e *Engine) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.timer = nil
	if o.closed {
		return
	}
	e.collectOrphans()
	if e.adopted.collect() > 0 {
		o.timer = time.AfterFunc(orphanPause, func() { o.look(e) })
	}
}

// close looks a last time: the next engine of the process knows nothing of this
// one's runs, nor this one of its.
func (o *orphans) close(e *Engine) {
	o.mu.Lock()
	defer o.mu.Unlock()
	e.collectOrphans()
	e.adopted.collect()
	o.closed = true
}

// collectOrphans takes the zombies that nobody waits for: crun --detach goes
// on in a process of its own, which ends as the supervisor's child, and an
// init of runc ends by itself when its runc is killed. What is waited for
// leads its process group, or is in the supervisor's: inits that were
// adopted, helpers, and runs under way. An init that nobody adopted, because
// its launch was given up when it had already begun, is an orphan too.
func (e *Engine) collectOrphans() {
	for _, pid := range children() {
		if !ended(pid) {
			continue
		}
		stat, err := kernelfile.Read(kernelfile.Path, fmt.Sprintf("/proc/%d/stat", pid))
		if err == nil && e.orphaned(pid, stat) {
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
		}
	}
}

// ended says whether a child has ended, and leaves it for whoever waits for it
// (waitid(2), WNOWAIT).
func ended(pid int) bool {
	var info unix.Siginfo
	err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err == nil && info.Signo != 0
}

// orphaned looks at /proc/PID/stat of a child (proc(5)).
func (e *Engine) orphaned(pid int, stat string) bool {
	// The name, in parentheses, may hold anything: fields follow the last ")".
	end := strings.LastIndexByte(stat, ')')
	if end < 0 || e.runs.has(pid) {
		return false
	}
	_, name, _ := strings.Cut(stat[:end], "(")
	fields := strings.Fields(stat[end+1:]) // state, parent, process group …
	if len(fields) < 3 || fields[0] != "Z" {
		return false
	}
	group, err := strconv.Atoi(fields[2])
	if err != nil || group == unix.Getpgrp() {
		return false
	}
	return group != pid || strings.HasPrefix(name, filepath.Base(e.cfg.Runtime)) ||
		name == filepath.Base(rootfs.InitTarget) && !e.adopted.has(pid)
}

// adopted are the inits that a supervisor holds, by the id of their sandbox,
// and those that are left to be collected since it was removed.
type adopted struct {
	mu   sync.Mutex
	pids map[string]int
	left map[int]bool
}

func (a *adopted) add(id string, pid int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pids == nil {
		a.pids = map[string]int{}
	}
	a.pids[id] = pid
}

// leave holds the init of a sandbox no more. One that is collected already is
// not left: its number may be another's by now.
func (a *adopted) leave(id string, collected []int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if pid, held := a.pids[id]; held && !slices.Contains(collected, pid) {
		if a.left == nil {
			a.left = map[int]bool{}
		}
		a.left[pid] = true
	}
	delete(a.pids, id)
}

// collect takes the zombies of those that are left, and says how many have not
// ended yet. It is not done as soon as they end: the kernel would spin until
// the last thread of each has left /proc.
func (a *adopted) collect() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	for pid := range a.left {
		if got, err := unix.Wait4(pid, nil, unix.WNOHANG, nil); got == pid || err == unix.ECHILD {
			delete(a.left, pid)
		}
	}
	return len(a.left)
}

func (a *adopted) holds(id string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, held := a.pids[id]
	return held
}

func (a *adopted) has(pid int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, held := range a.pids {
		if held == pid {
			return true
		}
	}
	return a.left[pid]
}

// runs are the processes of the runtime that are waited for.
type runs struct {
	mu   sync.Mutex
	pids map[int]bool
}

// start starts a run, so that nobody sees it before it is known.
func (r *runs) start(cmd *exec.Cmd) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return err
	}
	if r.pids == nil {
		r.pids = map[int]bool{}
	}
	r.pids[cmd.Process.Pid] = true
	return nil
}

func (r *runs) wait(cmd *exec.Cmd) error {
	err := cmd.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.pids, cmd.Process.Pid)
	return err
}

func (r *runs) has(pid int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pids[pid]
}

package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// children are kept, since their standard input ends when one is collected.
var children []*exec.Cmd

// target gives the process that an attempt is about: init, or for the control
// a child that this makes and that ends when it does.
func target(word string) int {
	if word == "init" {
		return 1
	}
	child := exec.Command("/proc/self/exe", "wait")
	_, err := child.StdinPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		report("start child", err)
		os.Exit(1)
	}
	children = append(children, child)
	return child.Process.Pid
}

// statusOf is one value of /proc/PID/status.
func statusOf(pid, key string) string {
	f, err := os.Open("/proc/" + pid + "/status")
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, _ := strings.Cut(lines.Text(), ":"); name == key {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	return "none"
}

// peek tries to look into a process of the same user.
func peek(args []string) {
	pid := target(args[0])
	defer unix.Kill(pid, unix.SIGKILL)
	dir := fmt.Sprintf("/proc/%d/", pid)
	for _, name := range []string{"environ", "maps", "smaps", "auxv", "io"} {
		f, err := os.Open(dir + name)
		if err == nil {
			_, err = f.Read(make([]byte, 1))
			if err != nil && err.Error() == "EOF" {
				err = nil
			}
			f.Close()
		}
		report(name, err)
	}
	for _, name := range []string{"mem", "clear_refs", "oom_score_adj", "coredump_filter"} {
		fd, err := unix.Open(dir+name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		unix.Close(fd)
		report("write "+name, err)
	}
	for _, name := range []string{"fd", "fdinfo", "map_files"} {
		_, err := os.ReadDir(dir + name)
		report(name, err)
	}
	for _, name := range []string{"exe", "cwd", "root", "ns/net", "ns/mnt", "fd/0"} {
		_, err := os.Readlink(dir + name)
		report(name, err)
	}
	for fd := range 5 {
		_, err := os.OpenFile(dir+"fd/"+strconv.Itoa(fd), os.O_RDWR, 0)
		report("open fd/"+strconv.Itoa(fd), err)
	}
	vm(pid)
}

// vm tries the system calls that reach into a process.
func vm(pid int) {
	p := uintptr(pid)
	var local [8]byte
	here := unix.Iovec{Base: &local[0]}
	here.SetLen(len(local))
	there := unix.RemoteIovec{Base: uintptr(unsafe.Pointer(&children)), Len: 8} // at the same place in every process of this program
	_, err := unix.ProcessVMReadv(pid, []unix.Iovec{here}, []unix.RemoteIovec{there}, 0)
	report("process_vm_readv", err)
	_, err = call(unix.SYS_KCMP, p, p, 1, 0, 0)
	report("kcmp", err)
	fd, err := unix.PidfdOpen(pid, 0)
	if err == nil {
		_, err = call(unix.SYS_PIDFD_GETFD, uintptr(fd), 0, 0)
		unix.Close(fd)
	}
	report("pidfd_getfd", err)
	_, err = call(unix.SYS_PTRACE, unix.PTRACE_SEIZE, p, 0, 0)
	report("ptrace", err)
}

// signals sends every signal in every way. Outcomes are only summed up: what
// counts is what became of the target.
func signals(args []string) {
	sent := 0
	for sig := uintptr(1); sig <= 64; sig++ {
		pid := uintptr(1)
		if args[0] == "child" {
			pid = uintptr(target("child"))
		}
		fd, err := unix.PidfdOpen(int(pid), 0)
		if err != nil {
			report("pidfd_open", err)
			return
		}
		info := [16]uint64{0: uint64(sig), 1: 0xffffffff} // si_code SI_QUEUE
		at := uintptr(unsafe.Pointer(&info))
		for _, err := range []error{
			second(call(unix.SYS_KILL, pid, sig)),
			second(call(unix.SYS_TKILL, pid, sig)),
			second(call(unix.SYS_TGKILL, pid, pid, sig)),
			second(call(unix.SYS_RT_SIGQUEUEINFO, pid, sig, at)),
			second(call(unix.SYS_RT_TGSIGQUEUEINFO, pid, pid, sig, at)),
			second(call(unix.SYS_PIDFD_SEND_SIGNAL, uintptr(fd), sig, 0, 0)),
		} {
			if err == nil {
				sent++
			}
		}
		unix.Close(fd)
		if args[0] == "child" {
			unix.Kill(int(pid), unix.SIGKILL) // for the signals that do not end a process
			var status unix.WaitStatus
			_, err := unix.Wait4(int(pid), &status, 0, nil)
			report("child ended", err)
		}
	}
	say("sent", strconv.Itoa(sent))
}

func second(_ uintptr, err error) error { return err }

// massacre sends a signal to everything it may, but not itself.
func massacre(args []string) {
	sig, err := strconv.Atoi(args[0])
	report("signal", err)
	report("kill -1", unix.Kill(-1, unix.Signal(sig)))
}

// meddle tries to starve or slow init down by its scheduling and limits.
func meddle(args []string) {
	pid := target(args[0])
	p := uintptr(pid)
	var limit unix.Rlimit
	for name, resource := range map[string]int{"nofile": unix.RLIMIT_NOFILE, "cpu": unix.RLIMIT_CPU, "nproc": unix.RLIMIT_NPROC, "as": unix.RLIMIT_AS} {
		report("prlimit "+name, unix.Prlimit(pid, resource, nil, &limit))
	}
	report("setpriority", unix.Setpriority(unix.PRIO_PROCESS, pid, 19))
	report("scheduler fifo", second(call(unix.SYS_SCHED_SETSCHEDULER, p, 1, uintptr(unsafe.Pointer(&[]int32{1}[0])))))
	report("scheduler idle", second(call(unix.SYS_SCHED_SETSCHEDULER, p, 5, uintptr(unsafe.Pointer(&[]int32{0}[0])))))
	set := unix.CPUSet{}
	set.Set(0)
	report("affinity", unix.SchedSetaffinity(pid, &set))
	report("ioprio", second(call(unix.SYS_IOPRIO_SET, 1, p, 3<<13)))
	report("setpgid", unix.Setpgid(pid, unix.Getpid()))
	for name, value := range map[string]string{"oom_score_adj": "1000", "timerslack_ns": "1000000000", "coredump_filter": "0", "comm": "creel", "autogroup": "19"} {
		f, err := os.OpenFile(fmt.Sprintf("/proc/%d/%s", pid, name), os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteString(value)
			f.Close()
		}
		report(name, err)
	}
	if args[0] == "child" {
		unix.Kill(pid, unix.SIGKILL)
	}
}

// orphans leaves as many processes behind for init to reap, each of which
// ends at once.
func orphans(args []string) {
	many, err := strconv.Atoi(args[0])
	report("parse", err)
	made := 0
	for range many {
		// The parent in the middle ends with its child unreaped.
		if exec.Command("/bin/sh", "-c", "true & true &").Run() == nil {
			made++
		}
	}
	say("orphaned", strconv.Itoa(2*made))
}

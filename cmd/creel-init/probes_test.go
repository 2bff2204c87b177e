package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// attackInit sends every signal there is to PID 1, in every way there is, and
// prints how many were accepted by the kernel. PID 1's threads are named by
// the thread ids 1 and up that /proc/1/task still lists.
func attackInit([]string) {
	tasks, err := os.ReadDir("/proc/1/task")
	check(err)
	sent := 0
	for sig := 1; sig <= 64; sig++ {
		sent += count(unix.Kill(1, unix.Signal(sig)))
		for _, code := range []int32{-1, -2, -3, -4, -5} { // SI_QUEUE … SI_SIGIO: forged faults
			sent += count(queue(unix.SYS_RT_SIGQUEUEINFO, sig, code, 1))
		}
		for _, task := range tasks {
			tid, err := strconv.Atoi(task.Name())
			check(err)
			sent += count(unix.Tgkill(1, tid, unix.Signal(sig)))
			_, _, errno := unix.Syscall(unix.SYS_TKILL, uintptr(tid), uintptr(sig), 0)
			sent += count(errnoOrNil(errno))
			sent += count(queue(unix.SYS_RT_TGSIGQUEUEINFO, sig, -1, 1, uintptr(tid)))
		}
	}
	for n := 0; n < 100_000; n++ { // a flood, of what queues and what does not
		count(unix.Kill(1, unix.Signal(1+n%64)))
	}
	fmt.Printf("threads %d sent %d\n", len(tasks), sent)
	os.Exit(7)
}

// queue calls rt_sigqueueinfo(pid, sig, info) or rt_tgsigqueueinfo(pid, tid,
// sig, info) with a siginfo_t of the given si_code.
func queue(call uintptr, sig int, code int32, ids ...uintptr) error {
	var info [128]byte
	*(*int32)(unsafe.Pointer(&info[0])) = int32(sig)
	*(*int32)(unsafe.Pointer(&info[8])) = code
	args := append(ids, uintptr(sig), uintptr(unsafe.Pointer(&info)), 0)
	_, _, errno := unix.Syscall6(call, args[0], args[1], args[2], args[3], 0, 0)
	return errnoOrNil(errno)
}

func errnoOrNil(errno unix.Errno) error {
	if errno != 0 {
		return errno
	}
	return nil
}

func count(err error) int {
	if err != nil {
		return 0
	}
	return 1
}

// peekInit tries every way a process of the same user has into another one,
// and prints the result of each. The pid is an argument, so that the same
// probe shows the ways work on an ordinary process.
func peekInit(args []string) {
	pid, err := strconv.Atoi(args[0])
	check(err)
	dir := "/proc/" + args[0] + "/"
	for _, name := range []string{"environ", "mem", "auxv", "maps", "stack", "pagemap"} {
		report(name, open(dir+name, os.O_RDONLY))
	}
	report("mem for writing", open(dir+"mem", os.O_RDWR))
	report("oom_score_adj for writing", open(dir+"oom_score_adj", os.O_WRONLY))
	_, err = os.ReadDir(dir + "fd")
	report("fd", err)
	for _, link := range []string{"exe", "cwd", "root", "ns/pid"} {
		_, err = os.Readlink(dir + link)
		report(link, err)
	}
	report("ptrace", ptrace(pid))
	buf := make([]byte, 1)
	local := []unix.Iovec{{Base: &buf[0], Len: 1}}
	_, err = unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: uintptr(unsafe.Pointer(&buf[0])), Len: 1}}, 0)
	if err == unix.EFAULT {
		err = nil // allowed to look, nothing there
	}
	report("process_vm_readv", err)
	pidfd, err := unix.PidfdOpen(pid, 0)
	check(err)
	_, err = unix.PidfdGetfd(pidfd, 0, 0)
	report("pidfd_getfd", err)
	os.Exit(0)
}

func open(path string, flag int) error {
	f, err := os.OpenFile(path, flag, 0)
	if err == nil {
		_, err = f.Read(make([]byte, 1))
		if err == nil || flag != os.O_RDONLY || strings.HasSuffix(path, "mem") && !errors.Is(err, unix.EACCES) {
			err = nil
		}
		f.Close()
	}
	if err != nil && err.Error() == "EOF" {
		return nil
	}
	return err
}

func ptrace(pid int) error {
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid), 0, 0, 0, 0)
	if errno == 0 {
		unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_DETACH, uintptr(pid), 0, 0, 0, 0)
		return nil
	}
	return errno
}

func report(what string, err error) {
	if err != nil {
		fmt.Printf("%s: refused\n", what)
		return
	}
	fmt.Printf("%s: allowed\n", what)
}

// signalGroup says which signals reach it, until SIGTERM.
func signalGroup([]string) {
	got := make(chan os.Signal, 8)
	signal.Notify(got, unix.SIGUSR1, unix.SIGUSR2, unix.SIGTERM)
	fmt.Println("listening")
	for sig := range got {
		fmt.Println(sig)
		if sig == unix.SIGTERM {
			os.Exit(3)
		}
	}
}

// terminalReport prints the size of its terminal now and at each change, and
// what standard input says, until that ends.
func terminalReport([]string) {
	changed := make(chan os.Signal, 8)
	signal.Notify(changed, unix.SIGWINCH)
	printSize()
	for range changed {
		printSize()
	}
}

func printSize() {
	size, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
	check(err)
	fmt.Printf("size %d %d\n", size.Row, size.Col)
}

// callFiltered prints what a harmless system call gives.
func callFiltered([]string) {
	var info unix.Sysinfo_t
	fmt.Println(unix.Sysinfo(&info))
	os.Exit(0)
}

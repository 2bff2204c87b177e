package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Each of these takes all it can get of one thing, says so, and keeps it
// until standard input ends.

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		report("parse", err)
		os.Exit(2)
	}
	return n
}

func ready(value string, err error) {
	report("stopped by", err)
	say("ready", value)
	untilEOF()
}

// fill writes a file of a directory until nothing more fits.
func fill(args []string) {
	f, err := os.Create(filepath.Join(args[0], "creel-fill"))
	if err != nil {
		report("create", err)
		return
	}
	defer os.Remove(f.Name())
	block, total := make([]byte, 1<<20), 0
	for limit := number(args[1]); err == nil && total < limit; {
		var n int
		n, err = f.Write(block)
		total += n
	}
	ready(strconv.Itoa(total), err)
}

// files makes empty files until no more can be made.
func files(args []string) {
	made, limit := 0, number(args[1])
	var err error
	for ; made < limit; made++ {
		var f *os.File
		if f, err = os.Create(filepath.Join(args[0], "creel-"+strconv.Itoa(made))); err != nil {
			break
		}
		f.Close()
	}
	ready(strconv.Itoa(made), err)
	for i := range made {
		os.Remove(filepath.Join(args[0], "creel-"+strconv.Itoa(i)))
	}
}

// descriptors opens pipes until none is left.
func descriptors(args []string) {
	opened, limit := 3, number(args[0])
	var err error
	for opened < limit {
		var p [2]int
		if err = unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			break
		}
		opened += 2
	}
	ready(strconv.Itoa(opened), err)
}

// memory touches memory until the kernel ends this.
func memory(args []string) {
	fmt.Println("ready\t\"0\"")
	var kept [][]byte
	for limit := number(args[0]); len(kept) < limit; {
		block := make([]byte, 1<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		kept = append(kept, block)
	}
	say("kept", strconv.Itoa(len(kept)))
}

// sparse makes a file of a size that nothing on disk is taken for.
func sparse(args []string) {
	signal.Ignore(syscall.SIGXFSZ) // so that the errno is seen
	name := filepath.Join(args[0], "creel-sparse")
	f, err := os.Create(name)
	if err != nil {
		report("create", err)
		return
	}
	defer os.Remove(name)
	size, err := strconv.ParseInt(args[1], 10, 64)
	if err == nil {
		err = f.Truncate(size)
	}
	report("truncate", err)
	_, err = f.WriteAt([]byte("x"), size-1)
	report("write at end", err)
	var st unix.Stat_t
	unix.Fstat(int(f.Fd()), &st)
	say("bytes on disk", strconv.FormatInt(st.Blocks*512, 10))
	say("ready", "0")
	untilEOF()
}

// survive makes children that take every known way to outlive their
// invocation, tells their number and, asked to end, leaves them behind.
func survive(args []string) {
	if len(args) == 2 { // one of the children
		signal.Ignore(syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGPIPE)
		if args[1] == "middle" {
			start(args[0], "end")
			return // the grandchild is an orphan now
		}
		time.Sleep(time.Hour)
	}
	for range 3 {
		start(args[0], "end")
		start(args[0], "middle")
	}
	paths := 0
	for paths < 6 {
		paths = counted(args[0])
	}
	say("ready", strconv.Itoa(paths))
	untilEOF()
}

// start starts a child in a session of its own, with no descriptor of ours.
func start(word, role string) {
	cmd := exec.Command("/proc/self/exe", "survive", word, role)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		report("start", err)
	}
}

// counted counts the processes that are to survive.
func counted(word string) int {
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	found := 0
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err == nil && containsArgument(data, word) && containsArgument(data, "end") {
			found++
		}
	}
	return found
}

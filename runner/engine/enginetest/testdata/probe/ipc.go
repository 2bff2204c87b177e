package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const ipcKey = 0x6372656c

// hold makes one of everything that processes can meet at, then looks for it,
// as the control, and keeps it until standard input ends.
func hold(args []string) {
	canary := args[0]
	id, err := call(unix.SYS_SHMGET, ipcKey, 4096, unix.IPC_CREAT|unix.IPC_EXCL|0o666)
	report("make shm", err)
	defer call(unix.SYS_SHMCTL, id, unix.IPC_RMID, 0)
	sem, err := call(unix.SYS_SEMGET, ipcKey, 1, unix.IPC_CREAT|unix.IPC_EXCL|0o666)
	report("make sem", err)
	defer call(unix.SYS_SEMCTL, sem, 0, unix.IPC_RMID)
	queue, err := call(unix.SYS_MSGGET, ipcKey, unix.IPC_CREAT|unix.IPC_EXCL|0o666)
	report("make msg", err)
	defer call(unix.SYS_MSGCTL, queue, unix.IPC_RMID, 0)
	for _, dir := range []string{"/tmp", "/dev/shm"} {
		path := filepath.Join(dir, canary)
		report("make file "+dir, os.WriteFile(path, []byte(canary), 0o666))
		defer os.Remove(path)
	}
	abstract, err := net.Listen("unix", "@"+canary)
	report("make abstract", err)
	defer abstract.Close()
	path := "/tmp/" + canary + ".sock"
	named, err := net.Listen("unix", path)
	report("make named", err)
	defer named.Close()
	tcp, err := net.Listen("tcp4", "127.0.0.1:"+args[1])
	report("make tcp", err)
	defer tcp.Close()
	look(args)
	say("ready", strconv.Itoa(os.Getpid()))
	untilEOF()
}

// look tries to find what hold has made.
func look(args []string) {
	canary := args[0]
	find := func(name string, _ uintptr, err error) { report("find "+name, err) }
	id, err := call(unix.SYS_SHMGET, ipcKey, 4096, 0)
	find("shm", id, err)
	id, err = call(unix.SYS_SEMGET, ipcKey, 1, 0)
	find("sem", id, err)
	id, err = call(unix.SYS_MSGGET, ipcKey, 0)
	find("msg", id, err)
	for _, dir := range []string{"/tmp", "/dev/shm"} {
		_, err := os.ReadFile(filepath.Join(dir, canary))
		report("find file "+dir, err)
	}
	dialOne("find abstract", "unix", "@"+canary)
	dialOne("find named", "unix", "/tmp/"+canary+".sock")
	dialOne("find tcp", "tcp4", "127.0.0.1:"+args[1])
	report("find process", process(canary))
	others := 0
	for pid := 2; pid < 1<<15; pid++ {
		if unix.Kill(pid, 0) != nil {
			continue
		}
		// It may be a thread of this, or of init.
		if group := statusOf(strconv.Itoa(pid), "Tgid"); group != strconv.Itoa(os.Getpid()) && group != "1" {
			others++
		}
	}
	say("others", strconv.Itoa(others))
}

// process looks for a process that holds, and has this word in its arguments.
func process(word string) error {
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range paths {
		data, err := os.ReadFile(path)
		if err == nil && containsArgument(data, "hold") && containsArgument(data, word) {
			return nil
		}
	}
	return fs.ErrNotExist
}

func containsArgument(cmdline []byte, word string) bool {
	start := 0
	for i, b := range cmdline {
		if b == 0 {
			if string(cmdline[start:i]) == word {
				return true
			}
			start = i + 1
		}
	}
	return false
}

// dial tries to reach addresses, written NETWORK=ADDRESS; what listens there
// answers "pong".
func dial(addresses []string) {
	for _, address := range addresses {
		network, where := address, ""
		for i := range address {
			if address[i] == '=' {
				network, where = address[:i], address[i+1:]
				break
			}
		}
		if network == "vsock" {
			report(address, vsock(where))
			continue
		}
		conn, err := net.DialTimeout(network, where, 3*time.Second)
		if err == nil {
			err = pong(conn)
		}
		report(address, err)
	}
}

func pong(conn net.Conn) error {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(3 * time.Second))
	if _, err := conn.Write([]byte("ping")); err != nil {
		return err
	}
	var b [16]byte
	n, err := conn.Read(b[:])
	if err == nil && string(b[:n]) != "pong" {
		err = fmt.Errorf("heard %q", b[:n])
	}
	return err
}

// dialOne only connects.
func dialOne(name, network, address string) {
	conn, err := net.DialTimeout(network, address, 3*time.Second)
	if err == nil {
		conn.Close()
	}
	report(name, err)
}

// vsock connects to a port of every context that could be the host.
func vsock(port string) error {
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	var errs error
	for _, context := range []uint32{0, 1, 2} { // hypervisor, local, host (vsock(7))
		fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		soon := unix.Timeval{Usec: 100_000}
		if err := unix.SetsockoptTimeval(fd, unix.AF_VSOCK, unix.SO_VM_SOCKETS_CONNECT_TIMEOUT, &soon); err != nil {
			return err
		}
		err = unix.Connect(fd, &unix.SockaddrVM{CID: context, Port: uint32(number)})
		unix.Close(fd)
		if err == nil {
			return nil
		}
		errs = errors.Join(errs, err)
	}
	return errs
}

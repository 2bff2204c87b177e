package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Inside is the connector to a service inside a sandbox: a port of 127.0.0.1
// there. What answers is the sandbox's, and as little to be trusted.
type Inside struct {
	// Process is a pidfd of a process in the sandbox's network namespace, which
	// unlike its number never comes to mean another; when it has ended there is
	// nothing to connect to. The caller keeps it open.
	Process *os.File
	Port    uint16
}

// Connect implements Connector.
func (in Inside) Connect(ctx context.Context, _ *net.TCPConn) (*net.TCPConn, error) {
	return in.Dial(ctx)
}

// Dial connects, within 3 s or until ctx ends.
func (in Inside) Dial(ctx context.Context) (*net.TCPConn, error) {
	fd, err := in.socket()
	if err != nil {
		return nil, fmt.Errorf("make socket in sandbox: %w", err)
	}
	file := os.NewFile(uintptr(fd), "inside")
	defer file.Close() // FileConn duplicates it
	to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), in.Port)
	conn, err := connectTo(ctx, file, to)
	if err != nil {
		return nil, fmt.Errorf("dial %s in sandbox: %w", to, err)
	}
	return conn, nil
}

// made is a socket, or why there is none.
type made struct {
	fd  int
	err error
}

// socket makes a socket in the sandbox's network namespace, to which it then
// belongs (network_namespaces(7)).
func (in Inside) socket() (int, error) {
	result := make(chan made, 1)
	go in.visit(result)
	m := <-result
	return m.fd, m.err
}

// visit has a thread go there for that, and do nothing else; one that cannot
// come back ends with its goroutine. It is never the first thread, since what
// reads /proc/self is told of that one's namespaces (proc(5)): that waits here
// while another goes.
func (in Inside) visit(result chan<- made) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		defer runtime.UnlockOSThread()
		others := make(chan made, 1)
		go in.visit(others)
		result <- <-others
		return
	}
	own, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		runtime.UnlockOSThread()
		result <- made{err: os.NewSyscallError("open own network namespace", err)}
		return
	}
	defer unix.Close(own)
	fd, err := in.socketHere()
	if unix.Setns(own, unix.CLONE_NEWNET) == nil {
		runtime.UnlockOSThread()
	}
	result <- made{fd, err}
}

// socketHere moves the thread it runs on. A pidfd stands for the namespaces of
// its process, and gives ESRCH when that has ended (setns(2), Linux 5.8).
func (in Inside) socketHere() (fd int, err error) {
	control, err := in.Process.SyscallConn()
	if err != nil {
		return -1, err
	}
	var moved error
	if err := control.Control(func(pidfd uintptr) { moved = unix.Setns(int(pidfd), unix.CLONE_NEWNET) }); err != nil {
		return -1, err
	}
	if moved != nil {
		return -1, os.NewSyscallError("setns", moved)
	}
	fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	return fd, os.NewSyscallError("socket", err)
}

// connectTo connects a socket of either namespace, and gives the connection.
func connectTo(ctx context.Context, file *os.File, to netip.AddrPort) (*net.TCPConn, error) {
	if err := establish(ctx, file, to); err != nil {
		return nil, err
	}
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	tcp, err := tcpOf(conn)
	if err != nil {
		return nil, err
	}
	return notSelf(tcp)
}

// establish waits for a full backlog, such as of a program that was stopped.
func establish(ctx context.Context, file *os.File, to netip.AddrPort) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	if err := file.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = file.SetDeadline(time.Unix(1, 0)) })()
	begun := false
	var outcome error
	err = raw.Write(func(fd uintptr) bool {
		if !begun {
			begun = true
			outcome = unix.Connect(int(fd), &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())})
			return outcome != unix.EINPROGRESS
		}
		outcome = connected(int(fd))
		return outcome != unix.EINPROGRESS
	})
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return os.NewSyscallError("connect", syscall.ETIMEDOUT)
	case err != nil:
		return err
	}
	return os.NewSyscallError("connect", outcome)
}

// connected is what has become of a connect(2) that could not be done at once.
func connected(fd int) error {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return err
	}
	if code != 0 {
		return unix.Errno(code)
	}
	if _, err := unix.Getpeername(fd); err == unix.ENOTCONN {
		return unix.EINPROGRESS // woken for nothing: the poller tells of a socket that was not connected yet
	}
	return nil
}

package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// namespace is a network namespace of its own with lo up, like a sandbox's.
// It lives on one locked thread, which ends with the test.
type namespace struct {
	t    testing.TB
	jobs chan func()
}

func newNamespace(t testing.TB) *namespace {
	t.Helper()
	ns := &namespace{t: t, jobs: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread dies with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			ready <- err
			return
		}
		ready <- raiseLoopback()
		for job := range ns.jobs {
			job()
		}
	}()
	if err := <-ready; err != nil {
		t.Fatalf("make network namespace (needs root): %v", err)
	}
	t.Cleanup(func() { close(ns.jobs) })
	return ns
}

func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	return raise(fd)
}

// raise raises the loopback of a socket's network namespace.
func raise(fd int) error {
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}

// do runs job on the namespace's thread.
func (ns *namespace) do(job func() error) error {
	done := make(chan error)
	ns.jobs <- func() { done <- job() }
	return <-done
}

// listen opens a TCP listener inside and returns its descriptor.
func (ns *namespace) listen(network, address string) *os.File {
	ns.t.Helper()
	var file *os.File
	err := ns.do(func() error {
		l, err := listen(network, address)
		if err != nil {
			return err
		}
		defer func() { _ = l.Close() }()
		file, err = l.(*net.TCPListener).File()
		return err
	})
	if err != nil {
		ns.t.Fatalf("listen on %s in namespace: %v", address, err)
	}
	ns.t.Cleanup(func() { _ = file.Close() })
	return file
}

// listen is net.Listen without multipath TCP, which it asks for by default.
func listen(network, address string) (net.Listener, error) {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	return config.Listen(context.Background(), network, address)
}

// socket makes a raw socket inside and readies it with prepare.
func (ns *namespace) socket(domain, kind, proto int, prepare func(fd int) error) *os.File {
	ns.t.Helper()
	var file *os.File
	err := ns.do(func() error {
		fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, proto)
		if err != nil {
			return err
		}
		file = os.NewFile(uintptr(fd), "socket")
		return prepare(fd)
	})
	if err != nil {
		ns.t.Fatalf("make socket in namespace: %v", err)
	}
	ns.t.Cleanup(func() { _ = file.Close() })
	return file
}

// dial connects from inside.
func (ns *namespace) dial(address string) (*net.TCPConn, error) {
	var conn net.Conn
	err := ns.do(func() error {
		var err error
		conn, err = net.DialTimeout("tcp4", address, 5*time.Second)
		return err
	})
	if err != nil {
		return nil, err
	}
	ns.t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

func (ns *namespace) mustDial(address string) *net.TCPConn {
	ns.t.Helper()
	conn, err := ns.dial(address)
	if err != nil {
		ns.t.Fatalf("dial %s in namespace: %v", address, err)
	}
	return conn
}

// mustDialSmall is mustDial with the smallest receive buffer, so that a caller
// that does not read has its sender wait.
func (ns *namespace) mustDialSmall(address string) *net.TCPConn {
	ns.t.Helper()
	conn := ns.mustDial(address)
	if err := conn.SetReadBuffer(1); err != nil {
		ns.t.Fatal(err)
	}
	return conn
}

// gateway is a service on the host's loopback; handle gets each connection
// and closes it.
func gateway(t testing.TB, handle func(*net.TCPConn)) (netip.AddrPort, io.Closer) {
	t.Helper()
	// Below the ports that the kernel gives to clients, so that the port
	// stays free while its gateway is down.
	for {
		l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000)))
		if err == nil {
			return serveGateway(t, l, handle)
		}
		if !errors.Is(err, unix.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

func gatewayAt(t testing.TB, address string, handle func(*net.TCPConn)) (netip.AddrPort, io.Closer) {
	t.Helper()
	l, err := net.Listen("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	return serveGateway(t, l, handle)
}

func serveGateway(t testing.TB, l net.Listener, handle func(*net.TCPConn)) (netip.AddrPort, io.Closer) {
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go handle(conn.(*net.TCPConn))
		}
	}()
	t.Cleanup(func() { _ = l.Close() })
	return netip.MustParseAddrPort(l.Addr().String()), l
}

// echo returns what it reads until the half-close, then closes.
func echo(conn *net.TCPConn) {
	_, _ = io.Copy(conn, conn)
	_ = conn.Close()
}

// serve makes a relay in ns for target and runs it until the test ends.
func serve(t testing.TB, ns *namespace, target netip.AddrPort, maxConns int) *Relay {
	t.Helper()
	relay, _ := serveOn(t, ns.listen("tcp4", target.String()), target, maxConns)
	return relay
}

// serveOn is serve with the listener given; the channel gets Serve's result.
func serveOn(t testing.TB, listener *os.File, target netip.AddrPort, maxConns int) (*Relay, <-chan error) {
	t.Helper()
	relay, err := New(listener, target, maxConns, Gateway(target))
	if err != nil {
		t.Fatalf("make relay: %v", err)
	}
	result := make(chan error, 1)
	go func() { result <- relay.Serve(context.Background()) }()
	t.Cleanup(relay.Close)
	return relay, result
}

// eventually polls a condition that another process of events brings about.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("not so after 10 s: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// within fails the test if job takes longer than d.
func within(t testing.TB, d time.Duration, what string, job func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { job(); close(done) }()
	select {
	case <-done:
	case <-time.After(d):
		stacks := make([]byte, 1<<16)
		t.Fatalf("%s took longer than %s\n%s", what, d, stacks[:runtime.Stack(stacks, true)])
	}
}

// sockets are this process's, by their inodes: others of a former test may end
// meanwhile.
func sockets(t testing.TB) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, entry := range entries {
		if link, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil && strings.HasPrefix(link, "socket:") {
			all = append(all, link)
		}
	}
	return all
}

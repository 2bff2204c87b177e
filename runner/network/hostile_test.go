package network

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A gateway that dies in the middle of an answer must not look like one that
// has finished; the control is an answer that did finish.
func TestCutAnswerIsNotTakenForAWholeOne(t *testing.T) {
	const sent = "half of an answer"
	for _, uploading := range []int{1, 1 << 20} {
		for _, whole := range []bool{true, false} {
			target, _ := gateway(t, func(conn *net.TCPConn) {
				_, _ = io.ReadFull(conn, make([]byte, 1))
				_, _ = io.WriteString(conn, sent)
				if !whole {
					reset(conn)
					return
				}
				_ = conn.CloseWrite()
				_, _ = io.Copy(io.Discard, conn)
				_ = conn.Close()
			})
			ns := newNamespace(t)
			relay := serve(t, ns, target, 1)
			for range 50 {
				data, err := request(ns.mustDial(target.String()), make([]byte, uploading))
				if whole && (err != nil || data != sent) {
					t.Fatalf("control, uploading %d: %q, %v", uploading, data, err)
				}
				if !whole && (err == nil || !strings.HasPrefix(sent, data)) {
					t.Fatalf("uploading %d: %q and %v, want an error", uploading, data, err)
				}
				eventually(t, "forgotten", func() bool { return relay.stats().open == 0 })
			}
		}
	}
}

// request sends body and reads the answer at the same time. The error is of
// either: the kernel tells only one of a reader and a writer of a reset.
func request(conn *net.TCPConn, body []byte) (answer string, err error) {
	var upload sync.WaitGroup
	var sendErr error
	upload.Go(func() {
		_, sendErr = conn.Write(body)
		if sendErr == nil {
			sendErr = conn.CloseWrite()
		}
	})
	data, err := io.ReadAll(conn)
	upload.Wait()
	_ = conn.Close()
	return string(data), errors.Join(err, sendErr)
}

// A gateway that answers early and closes without reading the rest of the
// request (an HTTP 413, say): the answer still arrives.
func TestAnswerToAnUnreadRequestArrives(t *testing.T) {
	answer := bytes.Repeat([]byte("413 too large\n"), 1000) // less than a window: all sent before the reset
	target, _ := gateway(t, func(conn *net.TCPConn) {
		_, _ = io.ReadFull(conn, make([]byte, 1000))
		_, _ = conn.Write(answer)
		_ = conn.Close() // with unread data: the kernel sends RST after the answer
	})
	ns := newNamespace(t)
	relay := serve(t, ns, target, 1)
	for range 50 {
		data, err := request(ns.mustDial(target.String()), make([]byte, 300000))
		if err == nil {
			t.Error("the unread request was taken for a read one")
		}
		if data != string(answer) {
			t.Fatalf("%d of %d bytes of the answer arrived", len(data), len(answer))
		}
		eventually(t, "forgotten", func() bool { return relay.stats().open == 0 })
	}
}

func TestCallerThatOpensAndDropsLeavesNothing(t *testing.T) {
	target, _ := gateway(t, echo)
	ns := newNamespace(t)
	relay := serve(t, ns, target, 16)
	exchange(t, ns.mustDial(target.String()), "control")
	before := runtime.NumGoroutine()
	most := 0
	drop := func(i int) error {
		conn, err := net.Dial("tcp4", target.String())
		if errors.Is(err, unix.ECONNRESET) {
			return nil // refused at the limit
		}
		if err != nil {
			return err
		}
		if i%3 == 0 {
			_, _ = io.WriteString(conn, "half-sent")
		}
		if i%2 == 0 {
			_ = conn.(*net.TCPConn).SetLinger(0)
		}
		most = max(most, runtime.NumGoroutine())
		return conn.Close()
	}
	const connections = burst + perSecond
	start := time.Now()
	for i := range connections {
		if err := ns.do(func() error { return drop(i) }); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	eventually(t, "only the control is open", func() bool { return relay.stats().open == 1 })
	// Two goroutines per connection here, one in the gateway, and as many
	// gateway connections may be ending as have begun.
	if most > before+4*16+32 {
		t.Errorf("%d goroutines at the height, %d before", most, before)
	}
	eventually(t, "no goroutine left", func() bool { return runtime.NumGoroutine() <= before })
	eventually(t, "all accepted", func() bool { return relay.stats().accepted == connections+1 })
	// The control took one of the burst.
	if took := time.Since(start); took < 900*time.Millisecond {
		t.Errorf("%d connections were accepted in %s", connections, took)
	}
}

// Callers that never read and never write hold their places, and no more;
// Close does not wait for them.
func TestStalledCallersHoldUpNobody(t *testing.T) {
	flood := func(conn *net.TCPConn) {
		_, _ = io.Copy(conn, zeros{})
		_ = conn.Close()
	}
	target, _ := gateway(t, flood)
	ns := newNamespace(t)
	relay := serve(t, ns, target, 4)
	for range 3 {
		ns.mustDial(target.String()) // reads nothing
	}
	reader := ns.mustDial(target.String())
	if _, err := io.CopyN(io.Discard, reader, 64<<20); err != nil {
		t.Fatalf("the fourth caller: %v", err)
	}
	within(t, 20*time.Second, "Close", relay.Close)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// The sandbox keeps a copy of the listener and sets what accepted sockets
// inherit: with a linger time, closing one with unsent data blocks.
func TestSandboxCannotMakeCloseBlockByLinger(t *testing.T) {
	target, _ := gateway(t, func(conn *net.TCPConn) {
		_, _ = conn.Write(make([]byte, 200000)) // less than the relay's socket takes, more than the caller's
		_, _ = io.Copy(io.Discard, conn)
		_ = conn.Close()
	})
	ns := newNamespace(t)
	listener := ns.listen("tcp4", target.String())
	linger := unix.Linger{Onoff: 1, Linger: 3600}
	if err := withFd(listener, func(fd int) error {
		return unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &linger)
	}); err != nil {
		t.Fatal(err)
	}
	relay, _ := serveOn(t, listener, target, 1)
	conn := ns.mustDialSmall(target.String()) // never read, so the relay's socket has unsent data
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "connected", func() bool { return relay.stats().accepted == 1 })
	eventually(t, "both directions ended and the relay is done with them", func() bool { return relay.stats().open == 0 })
	within(t, 20*time.Second, "Close", relay.Close)
}

// The sandbox clears O_NONBLOCK on its copy (the flag is shared): accept(2)
// then blocks in the kernel.
func TestSandboxCannotMakeCloseBlockByABlockingListener(t *testing.T) {
	target, _ := gateway(t, echo)
	ns := newNamespace(t)
	listener := ns.listen("tcp4", target.String())
	var kept int
	if err := withFd(listener, func(fd int) error {
		var err error
		kept, err = unix.Dup(fd)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(kept) }()
	relay, err := New(listener, target, 1, Gateway(target))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(kept, false); err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() { result <- relay.Serve(t.Context()) }()
	exchange(t, ns.mustDial(target.String()), "control: it serves")
	within(t, 20*time.Second, "Close", relay.Close)
	if err := <-result; err != nil {
		t.Errorf("Serve ended with %v", err)
	}
	if listening, err := unix.GetsockoptInt(kept, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || listening != 0 {
		t.Errorf("the sandbox's copy still listens: %d, %v", listening, err)
	}
}

// The sandbox shuts its copy down: Serve says so, and does not spin.
func TestListenerShutDownBySandboxEndsServe(t *testing.T) {
	target, _ := gateway(t, echo)
	ns := newNamespace(t)
	listener := ns.listen("tcp4", target.String())
	var kept int
	if err := withFd(listener, func(fd int) error {
		var err error
		kept, err = unix.Dup(fd)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(kept) }()
	_, result := serveOn(t, listener, target, 1)
	exchange(t, ns.mustDial(target.String()), "control")
	if err := unix.Shutdown(kept, unix.SHUT_RDWR); err != nil {
		t.Fatal(err)
	}
	within(t, 20*time.Second, "the end", func() {
		if err := <-result; !errors.Is(err, unix.EINVAL) {
			t.Errorf("Serve ended with %v, want EINVAL", err)
		}
	})
}

func TestRelayWaitsOutAWantOfDescriptors(t *testing.T) {
	target, _ := gateway(t, echo)
	ns := newNamespace(t)
	relay := serve(t, ns, target, 4)
	exchange(t, ns.mustDial(target.String()), "control")
	port := int(target.Port())
	client := ns.socket(unix.AF_INET, unix.SOCK_STREAM, 0, func(int) error { return nil })

	restore := exhaustDescriptors(t)
	var before, after unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &before); err != nil {
		t.Fatal(err)
	}
	err := withFd(client, func(fd int) error {
		return unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port})
	})
	<-time.After(300 * time.Millisecond) // the span in which the CPU time is measured
	if err := unix.Getrusage(unix.RUSAGE_SELF, &after); err != nil {
		t.Fatal(err)
	}
	starved := relay.stats()
	restore()
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	if starved.accepted != 1 {
		t.Fatalf("stats %+v: descriptors were not short", starved)
	}
	used := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	if used > 150*time.Millisecond {
		t.Errorf("%s of CPU in 300 ms: it spins", used)
	}
	eventually(t, "the waiting connection is served", func() bool { return relay.stats().accepted == 2 })
	exchange(t, ns.mustDial(target.String()), "and new ones")
}

// exhaustDescriptors lowers the limit to the three that are always open.
func exhaustDescriptors(t *testing.T) (restore func()) {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
	}
}

// A socket connected to itself would echo what the sandbox sends.
func TestSelfConnectionIsNotAGateway(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	self := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(name.(*unix.SockaddrInet4).Port))
	_ = unix.Close(fd)
	looped, err := net.DialTCP("tcp4", net.TCPAddrFromAddrPort(self), net.TCPAddrFromAddrPort(self))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = looped.Close() }()
	if !isSelf(looped) {
		t.Error("a socket connected to itself passes for the gateway")
	}
	target, _ := gateway(t, echo)
	other, err := net.Dial("tcp4", target.String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	if isSelf(other.(*net.TCPConn)) {
		t.Error("control: the gateway passes for a socket connected to itself")
	}
}

func withFd(file *os.File, job func(fd int) error) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var failure error
	if err := raw.Control(func(fd uintptr) { failure = job(int(fd)) }); err != nil {
		return err
	}
	return failure
}

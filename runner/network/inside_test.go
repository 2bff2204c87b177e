package network

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/pidfd"
)

// sandboxed is a process in a network namespace of its own, in which a listener
// of this process's is.
type sandboxed struct {
	pidfd *os.File
	port  uint16
	end   func()
}

// newSandboxed serves handle at a port of a new namespace's 127.0.0.1.
func newSandboxed(t *testing.T, handle func(*net.TCPConn)) sandboxed {
	t.Helper()
	cmd := exec.Command("sleep", "1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	if err := cmd.Start(); err != nil {
		t.Fatalf("make network namespace (needs root): %v", err)
	}
	end := func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }
	t.Cleanup(end)
	held, err := pidfd.Open(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { held.Close() })
	fd, err := Inside{Process: held}.socket()
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "listener")
	defer file.Close()
	if err := errors.Join(raise(fd), unix.Bind(fd, &unix.SockaddrInet4{Addr: lo}), unix.Listen(fd, 8)); err != nil {
		t.Fatal(err)
	}
	l, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	at, _ := serveGateway(t, l, handle)
	return sandboxed{held, at.Port(), end}
}

func (s sandboxed) inside() Inside { return Inside{Process: s.pidfd, Port: s.port} }

// threadsElsewhere counts the threads of this process that are in another
// network namespace than it.
func threadsElsewhere(t *testing.T) int {
	t.Helper()
	own, err := os.Readlink("/proc/thread-self/ns/net") // another test may have left the first thread elsewhere
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, task := range tasks {
		if at, err := os.Readlink("/proc/self/task/" + task.Name() + "/ns/net"); err == nil && at != own {
			n++
		}
	}
	return n
}

func TestInsideReachesThePortOfTheSandboxAndNotOfTheHost(t *testing.T) {
	s := newSandboxed(t, echo)
	conn, err := s.inside().Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	exchange(t, conn, "hello")
	if conn, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", s.port)); err == nil {
		conn.Close()
		t.Error("the port is the host's")
	}
	host, _ := gateway(t, echo)
	if conn, err := (Inside{Process: s.pidfd, Port: host.Port()}).Dial(t.Context()); !errors.Is(err, unix.ECONNREFUSED) {
		if err == nil {
			conn.Close()
		}
		t.Errorf("a port of the host's: %v", err)
	}
	before := threadsElsewhere(t)
	var dials sync.WaitGroup
	for range 100 {
		dials.Go(func() {
			conn, err := s.inside().Dial(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			reset(conn)
		})
	}
	dials.Wait()
	if n := threadsElsewhere(t); n > before {
		t.Errorf("%d threads stayed inside", n-before)
	}
}

// The namespaces of the first thread are what /proc/self tells of, by which the
// posture of other sandboxes is judged: it never goes anywhere.
func TestFirstThreadNeverVisitsASandbox(t *testing.T) {
	s := newSandboxed(t, echo)
	own, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var dials sync.WaitGroup
	for range 4 {
		dials.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				fd, err := s.inside().socket()
				if err != nil {
					t.Error(err)
					return
				}
				_ = unix.Close(fd)
			}
		})
	}
	for range 20_000 {
		if at, err := os.Readlink("/proc/self/ns/net"); err != nil || at != own {
			t.Errorf("it is in %s, not %s: %v", at, own, err)
			break
		}
	}
	close(stop)
	dials.Wait()
}

func TestInsideOfAnEndedSandboxIsNowhere(t *testing.T) {
	s := newSandboxed(t, echo)
	s.end()
	if conn, err := s.inside().Dial(t.Context()); !errors.Is(err, unix.ESRCH) {
		if err == nil {
			conn.Close()
		}
		t.Errorf("an ended one: %v", err)
	}
}

// A program that was stopped, or does not accept, fills its backlog: who dials
// then waits no longer than it wants to.
func TestDialOfAFullBacklogEndsWithItsContext(t *testing.T) {
	s := newSandboxed(t, echo)
	full := fullListener(t, s)
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, errors.New("enough"))
	defer cancel()
	within(t, 2*time.Second, "the dial", func() {
		if conn, err := (Inside{Process: s.pidfd, Port: full}).Dial(ctx); err == nil || err.Error() != fmt.Sprintf("dial 127.0.0.1:%d in sandbox: enough", full) {
			if err == nil {
				conn.Close()
			}
			t.Errorf("it ended with %v", err)
		}
	})
}

// fullListener gives a port inside whose one place in the backlog is taken.
func fullListener(t *testing.T, s sandboxed) uint16 {
	t.Helper()
	fd, err := s.inside().socket()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: lo}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(name.(*unix.SockaddrInet4).Port)
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		conn, err := (Inside{Process: s.pidfd, Port: port}).Dial(ctx)
		cancel()
		if err != nil {
			return port
		}
		t.Cleanup(func() { conn.Close() })
	}
}

func TestAnswerOf2xxAloneIsGood(t *testing.T) {
	for text, want := range map[string]string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok":                       "",
		"HTTP/1.0 204 No Content\r\n\r\n":                                      "",
		"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n":          "status 302",
		"HTTP/1.1 200 OK\r\ncanary of a secret\r\n\r\n":                        "no answer in HTTP",
		"canary/1.1 200 OK\r\n\r\n":                                            "no answer in HTTP",
		"HTTP/1.1 canary OK\r\n\r\n":                                           "no answer in HTTP",
		"HTTP/1.1 500 canary\r\n\r\n":                                          "status 500",
		"HTTP/1.1 503 Service Unavailable\r\n\r\n":                             "status 503",
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", maxAnswer) + "\r\n\r\n": "no answer in HTTP",
		"SSH-2.0-OpenSSH_9.2\r\n":                                              "no answer in HTTP",
		"":                                                                     "ended without an answer",
	} {
		s := newSandboxed(t, func(conn *net.TCPConn) {
			defer conn.Close()
			if request, err := http.ReadRequest(bufio.NewReader(conn)); err != nil || request.Method != http.MethodGet || request.URL.Path != "/healthz" {
				t.Errorf("it was asked %+v, %v", request, err)
			}
			_, _ = io.WriteString(conn, text)
		})
		switch err := s.inside().Ask(t.Context(), "/healthz"); {
		case want == "" && err != nil:
			t.Errorf("%.40q: %v", text, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary")):
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
}

func TestSilenceIsNoAnswer(t *testing.T) {
	held := make(chan *net.TCPConn, 1)
	ctx, cancel := context.WithCancelCause(t.Context())
	s := newSandboxed(t, func(conn *net.TCPConn) {
		if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
			t.Errorf("it was asked: %v", err)
		}
		held <- conn
		cancel(errors.New("no answer in time")) // once it has asked, and not while it dials
	})
	if err := s.inside().Ask(ctx, "/"); err == nil || err.Error() != "ask for /: no answer in time" {
		t.Errorf("it ended with %v", err)
	}
	(<-held).Close()
}

// published relays from a port of the host's to a sandbox.
func published(t *testing.T, at string, connector Connector) (*Relay, netip.AddrPort) {
	t.Helper()
	l, err := net.Listen("tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	address := netip.MustParseAddrPort(l.Addr().String())
	l.Close()
	relay, err := Publish(address, 8, connector)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(relay.Close)
	go func() { _ = relay.Serve(context.Background()) }()
	return relay, address
}

func TestPublishedPortLeadsInsideAndHangsUp(t *testing.T) {
	s := newSandboxed(t, echo)
	for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
		relay, address := published(t, at, s.inside())
		conn, err := net.Dial("tcp", address.String())
		if err != nil {
			t.Fatal(err)
		}
		exchange(t, conn.(*net.TCPConn), "hello")
		open, err := net.Dial("tcp", address.String())
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "both are open", func() bool { return relay.stats().open == 2 })
		relay.HangUp()
		if _, err := open.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("a connection that was hung up: %v", err)
		}
		if conn, err = net.Dial("tcp", address.String()); err != nil {
			t.Fatal(err)
		}
		exchange(t, conn.(*net.TCPConn), "control: it listens still")
		if _, err := Publish(address, 8, s.inside()); !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("published twice: %v", err)
		}
	}
}

func TestOnlyTheLoopbackIsPublishedAt(t *testing.T) {
	for _, at := range []string{"0.0.0.0:2000", "[::]:2000", "192.0.2.1:2000", "127.0.0.1:0", "169.254.1.1:2000"} {
		if relay, err := Publish(netip.MustParseAddrPort(at), 8, Inside{}); err == nil || !strings.Contains(err.Error(), "not a port of the loopback") {
			if err == nil {
				relay.Close()
			}
			t.Errorf("%s: %v", at, err)
		}
	}
}

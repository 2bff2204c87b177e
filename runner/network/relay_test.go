package network

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// exchange sends message and wants it back.
func exchange(t testing.TB, conn *net.TCPConn, message string) {
	t.Helper()
	if _, err := io.WriteString(conn, message); err != nil {
		t.Fatalf("send: %v", err)
	}
	answer := make([]byte, len(message))
	if _, err := io.ReadFull(conn, answer); err != nil {
		t.Fatalf("receive: %v", err)
	}
	if string(answer) != message {
		t.Fatalf("got %q, sent %q", answer, message)
	}
}

// wantReset reads until the end, which must be a reset.
func wantReset(t testing.TB, conn *net.TCPConn) {
	t.Helper()
	if data, err := io.ReadAll(conn); !errors.Is(err, unix.ECONNRESET) {
		t.Fatalf("read %d bytes and %v, want a reset", len(data), err)
	}
}

// wantNoService connects from ns and wants a reset, by connect or by read.
func wantNoService(t testing.TB, ns *namespace, address string) {
	t.Helper()
	conn, err := ns.dial(address)
	if errors.Is(err, unix.ECONNRESET) {
		return
	}
	if err != nil {
		t.Fatalf("dial: %v, want a reset", err)
	}
	wantReset(t, conn)
}

// stats are what a relay has counted, and how many connections are open now,
// those still being dialled included.
type stats struct {
	counts
	open int
}

func (r *Relay) stats() stats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return stats{r.counts, len(r.open)}
}

func TestSandboxReachesGatewayAndNothingElse(t *testing.T) {
	target, _ := gateway(t, echo)
	other, _ := gateway(t, echo)
	ns := newNamespace(t)
	relay := serve(t, ns, target, 4)

	exchange(t, ns.mustDial(target.String()), "to the gateway")

	// The same services from outside: the refusals below mean something.
	for _, address := range []string{target.String(), other.String()} {
		conn, err := net.Dial("tcp4", address)
		if err != nil {
			t.Fatalf("control: %v", err)
		}
		exchange(t, conn.(*net.TCPConn), "control")
		_ = conn.Close()
	}
	if _, err := ns.dial(other.String()); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("other port of the host: %v, want refused", err)
	}
	if _, err := ns.dial("10.0.0.1:80"); !errors.Is(err, unix.ENETUNREACH) {
		t.Errorf("other address: %v, want unreachable", err)
	}
	if got := relay.stats(); got.accepted != 1 || got.open != 1 || got.refused+got.failed != 0 {
		t.Errorf("stats %+v, want one accepted and open", got)
	}
}

func TestSandboxIsResetAtOnceWhenGatewayIsDown(t *testing.T) {
	target, listening := gateway(t, echo)
	ns := newNamespace(t)
	relay := serve(t, ns, target, 4)
	if err := listening.Close(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		start := time.Now()
		wantNoService(t, ns, target.String())
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("the reset took %s", took)
		}
	}
	eventually(t, "all forgotten", func() bool { return relay.stats().open == 0 })
	if got := relay.stats(); got.failed != 3 {
		t.Errorf("stats %+v, want three failed", got)
	}

	// Back up, on the same address: the relay serves again.
	gatewayAt(t, target.String(), echo)
	exchange(t, ns.mustDial(target.String()), "back")
}

func TestProbeTellsWhetherTheGatewayListens(t *testing.T) {
	target, listening := gateway(t, echo)
	if err := Probe(t.Context(), target); err != nil {
		t.Errorf("a gateway that listens: %v", err)
	}
	if err := listening.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Probe(t.Context(), target); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("a gateway that is down: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Probe(ended, target); !errors.Is(err, context.Canceled) {
		t.Errorf("when nobody waits any more: %v", err)
	}
}

func TestConnectionsOfOneSandboxAreCapped(t *testing.T) {
	target, _ := gateway(t, echo)
	ns := newNamespace(t)
	relay := serve(t, ns, target, 2)
	first, second := ns.mustDial(target.String()), ns.mustDial(target.String())
	exchange(t, first, "first")
	exchange(t, second, "second")
	for range 5 {
		wantNoService(t, ns, target.String())
	}
	exchange(t, first, "still there")
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a place is free", func() bool { return relay.stats().open == 1 })
	exchange(t, ns.mustDial(target.String()), "in its place")
	if got := relay.stats(); got.refused != 5 || got.accepted != 8 {
		t.Errorf("stats %+v, want 5 of 8 refused", got)
	}

	// The cap is each sandbox's own.
	neighbour := newNamespace(t)
	serve(t, neighbour, target, 2)
	exchange(t, neighbour.mustDial(target.String()), "another sandbox")
}

func TestHalfCloseReachesTheOtherSide(t *testing.T) {
	ns := newNamespace(t)
	// The gateway answers only once it has seen the end of the request, and
	// reads on after it has ended its answer.
	late := make(chan string, 1)
	target, _ := gateway(t, func(conn *net.TCPConn) {
		defer func() { _ = conn.Close() }()
		head := make([]byte, 1)
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		if head[0] == 'Q' {
			request, _ := io.ReadAll(conn)
			_, _ = io.WriteString(conn, "answer to "+string(request))
			return
		}
		_, _ = io.WriteString(conn, "early answer")
		_ = conn.CloseWrite()
		rest, _ := io.ReadAll(conn)
		late <- string(rest)
	})
	serve(t, ns, target, 4)

	conn := ns.mustDial(target.String())
	if _, err := io.WriteString(conn, "Qquestion"); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(conn); err != nil || string(answer) != "answer to question" {
		t.Errorf("after the caller's half-close: %q, %v", answer, err)
	}

	conn = ns.mustDial(target.String())
	if _, err := io.WriteString(conn, "E"); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(conn); err != nil || string(answer) != "early answer" {
		t.Errorf("the gateway's half-close: %q, %v", answer, err)
	}
	if _, err := io.WriteString(conn, "and one thing more"); err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if rest := <-late; rest != "and one thing more" {
		t.Errorf("after the gateway's half-close it read %q", rest)
	}
}

func TestBothDirectionsKeepEveryByte(t *testing.T) {
	const size = 64 << 20
	stream := func(seed byte) io.Reader {
		return io.LimitReader(rand.NewChaCha8([32]byte{seed}), size)
	}
	sum := func(r io.Reader) (digest [32]byte, n int64, err error) {
		hash := sha256.New()
		n, err = io.Copy(hash, r)
		return [32]byte(hash.Sum(nil)), n, err
	}
	send := func(conn *net.TCPConn, seed byte) error {
		// Writes of odd sizes; a struct hides WriterTo and ReaderFrom.
		if _, err := io.CopyBuffer(struct{ io.Writer }{conn}, stream(seed), make([]byte, 77777)); err != nil {
			return err
		}
		return conn.CloseWrite()
	}
	type received struct {
		digest [32]byte
		n      int64
		err    error
	}
	atGateway := make(chan received, 1)
	target, _ := gateway(t, func(conn *net.TCPConn) {
		defer func() { _ = conn.Close() }()
		var down sync.WaitGroup
		down.Go(func() { _ = send(conn, 2) })
		var got received
		got.digest, got.n, got.err = sum(conn)
		down.Wait()
		atGateway <- got
	})
	ns := newNamespace(t)
	serve(t, ns, target, 1)
	conn := ns.mustDial(target.String())
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	var up sync.WaitGroup
	up.Go(func() {
		if err := send(conn, 1); err != nil {
			t.Errorf("send: %v", err)
		}
	})
	var atCaller received
	atCaller.digest, atCaller.n, atCaller.err = sum(conn)
	up.Wait()
	for seed, got := range map[byte]received{1: <-atGateway, 2: atCaller} {
		want, _, _ := sum(stream(seed))
		if got.err != nil || got.n != size || !bytes.Equal(got.digest[:], want[:]) {
			t.Errorf("stream %d: %d bytes, error %v, digest equal %t", seed, got.n, got.err, got.digest == want)
		}
	}
}

func TestCloseEndsEverythingAtOnce(t *testing.T) {
	ended := make(chan error, 8)
	target, _ := gateway(t, func(conn *net.TCPConn) {
		_, err := io.Copy(conn, conn)
		ended <- err
		_ = conn.Close()
	})
	ns := newNamespace(t)
	before := sockets(t)
	relay, result := serveOn(t, ns.listen("tcp4", target.String()), target, 8)
	var callers []*net.TCPConn
	for range 4 {
		conn := ns.mustDial(target.String())
		exchange(t, conn, "alive")
		callers = append(callers, conn)
	}
	isNew := func(socket string) bool { return !slices.Contains(before, socket) }
	if now := sockets(t); !slices.ContainsFunc(now, isNew) {
		t.Errorf("control: of %q none is new", now)
	}
	within(t, 20*time.Second, "Close", relay.Close)
	if err := <-result; err != nil {
		t.Errorf("Serve ended with %v", err)
	}
	for _, conn := range callers {
		wantReset(t, conn)
		_ = conn.Close()
		<-ended
	}
	if _, err := ns.dial(target.String()); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("after Close: %v, want refused", err)
	}
	if got := relay.stats(); got.open != 0 {
		t.Errorf("stats %+v, want none open", got)
	}
	eventually(t, "no socket left", func() bool { return !slices.ContainsFunc(sockets(t), isNew) })
	relay.Close() // again
	if err := relay.Serve(context.Background()); !errors.Is(err, ErrClosed) {
		t.Errorf("Serve after Close: %v", err)
	}
}

func TestServeEndsWithItsContext(t *testing.T) {
	target, _ := gateway(t, echo)
	ns := newNamespace(t)
	goroutines := runtime.NumGoroutine()
	relay, err := New(ns.listen("tcp4", target.String()), target, 1, Gateway(target))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error)
	go func() { result <- relay.Serve(ctx) }()
	conn := ns.mustDial(target.String())
	exchange(t, conn, "alive")
	cancel()
	within(t, 20*time.Second, "the end", func() {
		if err := <-result; err != nil {
			t.Errorf("Serve ended with %v", err)
		}
	})
	wantReset(t, conn)
	eventually(t, "no goroutine left", func() bool { return runtime.NumGoroutine() <= goroutines })
}

package network

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/time/rate"
)

// transfer sends b.N blocks over a connection that dial makes to a gateway
// which discards them, and waits until all have arrived.
func transfer(b *testing.B, dial func(address string) (*net.TCPConn, error), relayed bool) {
	target, _ := gateway(b, func(conn *net.TCPConn) {
		_, _ = io.Copy(struct{ io.Writer }{io.Discard}, conn)
		_ = conn.Close()
	})
	ns := newNamespace(b)
	if relayed {
		serve(b, ns, target, 1)
		dial = ns.dial
	}
	conn, err := dial(target.String())
	if err != nil {
		b.Fatal(err)
	}
	_ = conn.SetDeadline(time.Time{})
	block := make([]byte, 1<<20)
	b.SetBytes(int64(len(block)))
	for b.Loop() {
		if _, err := conn.Write(block); err != nil {
			b.Fatal(err)
		}
	}
	if err := conn.CloseWrite(); err != nil {
		b.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, conn)
}

func dialHost(address string) (*net.TCPConn, error) {
	conn, err := net.Dial("tcp4", address)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

func BenchmarkThroughput(b *testing.B) {
	b.Run("direct", func(b *testing.B) { transfer(b, dialHost, false) })
	b.Run("relay", func(b *testing.B) { transfer(b, nil, true) })
}

// visit opens, asks, gets the answer and closes, b.N times. It does not stop
// the benchmark itself, for it may run on another goroutine.
func visit(b *testing.B, dial func() (net.Conn, error)) error {
	answer := make([]byte, 4)
	for b.Loop() {
		conn, err := dial()
		if err != nil {
			return err
		}
		if _, err := io.WriteString(conn, "ping"); err != nil {
			return err
		}
		if _, err := io.ReadFull(conn, answer); err != nil {
			return err
		}
		_ = conn.Close()
	}
	return nil
}

func BenchmarkConnections(b *testing.B) {
	target, _ := gateway(b, echo)
	dial := func() (net.Conn, error) { return net.Dial("tcp4", target.String()) }
	b.Run("direct", func(b *testing.B) {
		if err := visit(b, dial); err != nil {
			b.Fatal(err)
		}
	})
	b.Run("relay", func(b *testing.B) {
		ns := newNamespace(b)
		relay, err := New(ns.listen("tcp4", target.String()), target, 64, Gateway(target))
		if err != nil {
			b.Fatal(err)
		}
		relay.pace = rate.NewLimiter(rate.Inf, 0) // the cost is measured, not the limit
		go func() { _ = relay.Serve(context.Background()) }()
		defer relay.Close()
		if err := ns.do(func() error { return visit(b, dial) }); err != nil {
			b.Fatal(err)
		}
	})
}

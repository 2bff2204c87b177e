package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// dialTimeout bounds one connect to the gateway. On loopback an answer takes
// microseconds; only a full backlog takes longer.
const dialTimeout = 3 * time.Second

// Gateway is the connector that knows one address of the host, whatever the
// sandbox sends.
type Gateway netip.AddrPort

// Connect implements Connector.
func (g Gateway) Connect(ctx context.Context, _ *net.TCPConn) (*net.TCPConn, error) {
	gateway, err := Dial(ctx, net.Dialer{Timeout: dialTimeout}, "tcp4", netip.AddrPort(g))
	if err != nil {
		return nil, err
	}
	return notSelf(gateway)
}

// Dial connects to an address by TCP; network is net.Dial's. The address is a
// literal, so nothing is resolved. Dialer.DialTCP would bind(2) first, and so
// fail for want of a port that no TIME_WAIT holds, where connect(2) alone finds
// one to share.
func Dial(ctx context.Context, dialer net.Dialer, network string, to netip.AddrPort) (*net.TCPConn, error) {
	conn, err := dialer.DialContext(ctx, network, to.String())
	if err != nil {
		return nil, err
	}
	return tcpOf(conn)
}

// tcpOf takes a connection for what it is made to be.
func tcpOf(conn net.Conn) (*net.TCPConn, error) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		_ = conn.Close()
		return nil, fmt.Errorf("connect: a %T, not TCP", conn)
	}
	return tcp, nil
}

// notSelf refuses a connection to itself.
func notSelf(conn *net.TCPConn) (*net.TCPConn, error) {
	if isSelf(conn) {
		reset(conn)
		return nil, errors.New("connect: the socket is connected to itself")
	}
	return conn, nil
}

// isSelf reports a socket connected to itself: a port that nobody listens on
// and that the kernel chose as the source port too (simultaneous open, RFC
// 9293 3.5). It would echo what the sandbox sends.
func isSelf(conn *net.TCPConn) bool {
	return conn.LocalAddr().String() == conn.RemoteAddr().String()
}

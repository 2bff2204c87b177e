package network

import (
	"context"
	"fmt"
	"net"
	"net/netip"
)

// Probe says whether something listens at the gateway: it connects, sends
// nothing and resets the connection, which leaves no socket in TIME_WAIT and
// takes none of the host's ports. The error of the connect is wrapped; it comes
// after at most 3 s, or with the end of ctx.
func Probe(ctx context.Context, gateway netip.AddrPort) error {
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(ctx, "tcp4", gateway.String())
	if err != nil {
		return fmt.Errorf("reach %s: %w", gateway, err)
	}
	reset(conn.(*net.TCPConn))
	return nil
}

package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// Publish listens at an address of the host's loopback, IPv4 or IPv6, for a
// service of an agent's. The error wraps EADDRINUSE where somebody has it. At
// most maxConns connections are open at once.
//
// It is for as long as the agent is declared, not only while it runs: a port
// that was free in between could be taken by any user of the host, who would
// then be sent what is meant for the agent, its token first.
func Publish(at netip.AddrPort, maxConns int, connector Connector) (*Relay, error) {
	if !at.Addr().IsLoopback() || at.Port() == 0 {
		return nil, fmt.Errorf("publish %s: not a port of the loopback", at)
	}
	network := "tcp4"
	if at.Addr().Is6() {
		network = "tcp6" // IPv6 alone (ipv6(7), IPV6_V6ONLY)
	}
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	listener, err := config.Listen(context.Background(), network, at.String())
	if err != nil {
		var inSyscall *net.OpError
		if errors.As(err, &inSyscall) {
			err = inSyscall.Err // the rest says the address again
		}
		return nil, fmt.Errorf("publish %s: %w", at, err)
	}
	tcp, ok := listener.(*net.TCPListener)
	if !ok {
		_ = listener.Close()
		return nil, fmt.Errorf("publish %s: a %T, not a TCP listener", at, listener)
	}
	return newRelay(tcp, maxConns, connector), nil
}

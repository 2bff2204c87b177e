package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"code.dny.dev/ssrf"
	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/network"
)

const (
	// connectTime bounds the attempt at one address.
	connectTime = 5 * time.Second
	// maxAddresses are tried, in the order of RFC 6724.
	maxAddresses = 4
)

// public knows the addresses that are not of the Internet at large: those of
// IANA's special-purpose registries, and all of IPv6 that is not global
// unicast. 168.63.129.16 looks public and is the host's own, at Azure, where
// it serves metadata.
var public = ssrf.New(ssrf.WithAnyPort(), ssrf.WithDeniedV4Prefixes(netip.MustParsePrefix("168.63.129.16/32")))

// dial resolves a destination and connects to it.
func (p *Proxy) dial(ctx context.Context, to Destination) (*net.TCPConn, error) {
	addresses, err := p.resolve(ctx, to.Host)
	if err != nil {
		return nil, err
	}
	var last error
	for _, addr := range addresses[:min(len(addresses), maxAddresses)] {
		conn, err := connect(ctx, netip.AddrPortFrom(addr, to.Port))
		var refused *Refusal
		if err == nil || errors.As(err, &refused) {
			return conn, err
		}
		last = err
	}
	reason := "it cannot be connected to: " + last.Error()
	if errors.Is(last, unix.EPERM) {
		reason += " (where creeld is a systemd unit, its IPAddressAllow= must allow this)"
	}
	return nil, &Refusal{Rule: RuleUnreachable, Reason: reason}
}

// resolve gives the addresses of a host, all of them public.
func (p *Proxy) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	addresses := make([]netip.Addr, 1)
	var err error
	if addresses[0], err = netip.ParseAddr(host); err != nil {
		// The final dot keeps the resolver from completing the name.
		addresses, err = p.resolver.LookupNetIP(ctx, "ip", host+".")
	}
	if err != nil || len(addresses) == 0 {
		return nil, &Refusal{Rule: RuleDNS, Reason: fmt.Sprintf("its address is not known: %v", err)}
	}
	for i, addr := range addresses {
		addresses[i] = addr.Unmap()
		if public.SafeAddr(addresses[i]) != nil {
			return nil, &Refusal{Rule: RuleProhibited, Reason: "it has the address " + addr.String() + ", which is not a public one"}
		}
	}
	return addresses, nil
}

// connect makes one connection; the address is checked once more where the
// kernel gets it.
func connect(ctx context.Context, to netip.AddrPort) (*net.TCPConn, error) {
	conn, err := network.Dial(ctx, net.Dialer{Timeout: connectTime, Control: public.Safe}, "tcp", to)
	if err != nil {
		return nil, err
	}
	// To an address of its own the kernel connects from that address: it is
	// this host, whatever network the address is of.
	if local, ok := conn.LocalAddr().(*net.TCPAddr); !ok || local.AddrPort().Addr().Unmap() == to.Addr() {
		_ = conn.Close()
		return nil, &Refusal{Rule: RuleProhibited, Reason: "its address " + to.Addr().String() + " is this host's own"}
	}
	return conn, nil
}

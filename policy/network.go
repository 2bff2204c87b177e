package policy

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// gatewayAddress is an IPv4 loopback address with an unprivileged port.
var gatewayAddress = scalar[netip.AddrPort]{
	what:    "an IPv4 loopback address and port",
	pattern: matching(`^127\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}:[1-9][0-9]{3,4}$`),
	hint:    "such as 127.0.0.1:18789, with a port from 1024 to 65535; host names, IPv6 and other hosts cannot be a gateway; egress names services elsewhere",
	parse: func(text string) (netip.AddrPort, *fault) {
		addr, err := netip.ParseAddrPort(text)
		if err != nil {
			return netip.AddrPort{}, faultf("such as 127.0.0.1:18789", "%s is not an address and port", quote(text))
		}
		if addr.Port() < 1024 {
			return netip.AddrPort{}, faultf("choose a port from 1024 to 65535", "the port %d is privileged", addr.Port())
		}
		return addr, nil
	},
	format: netip.AddrPort.String,
}

// destination is a service as HOST:PORT. What is written is what is compared:
// one form of each name and address, the one that the proxy brings what it is
// asked for to.
var destination = scalar[Destination]{
	what:    "a service, HOST:PORT",
	pattern: matching(`^(\[[0-9a-f:]{2,39}\]|[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+):[1-9][0-9]{0,4}$`),
	hint:    "such as api.example.org:443: a full name in lower-case letters (xn--… for others), or an address; wildcards are not understood",
	parse:   parseDestination,
	format:  Destination.String,
}

func parseDestination(text string) (Destination, *fault) {
	host, digits, err := net.SplitHostPort(text)
	port, portErr := strconv.ParseUint(digits, 10, 16)
	if err != nil || portErr != nil || len(host) > 253 {
		return Destination{}, faultf("such as api.example.org:443", "%s is not a service", quote(text))
	}
	d := Destination{host, uint16(port)}
	last := host[strings.LastIndexByte(host, '.')+1:]
	addr, err := netip.ParseAddr(host)
	switch {
	case err != nil && (strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x")):
		return Destination{}, faultf("write an address in its usual form, such as 192.0.2.7", "%s is an address in a form that readers take in different ways", quote(host))
	case err == nil && addr.Unmap().String() != host:
		return Destination{}, faultf("write "+quote(addr.Unmap().String()), "%s is not the usual form of the address", quote(host))
	case err == nil && (!addr.IsGlobalUnicast() || addr.IsPrivate()):
		return Destination{}, faultf("egress reaches public addresses only; a service of this host or its network is not for a sandbox", "%s is not a public address", quote(host))
	}
	return d, nil
}

// networkLeadsSomewhere wants what a network is for, and why commands may
// reach more than the gateway.
func networkLeadsSomewhere(p *Policy, report func(string, *fault)) {
	n := p.Network
	if n == nil {
		return
	}
	switch {
	case !n.Gateway.IsValid() && len(n.Egress) == 0:
		report("network", faultf("name a gateway or egress, or leave network out", "the network leads nowhere"))
	case len(n.Egress) > 0 && n.EgressReason == "" && p.Kind != KindAgent:
		report("network.egress", faultf("say why in egressReason", "commands would reach services outside, and nothing says why"))
	case len(n.Egress) == 0 && n.EgressReason != "":
		report("network.egressReason", faultf("remove it, or name the services in egress", "there is no egress that it could be the reason of"))
	case len(n.Egress) > 0 && n.Gateway == n.Proxy:
		report("network.proxy", faultf("choose another port", "the gateway has the address %s inside the sandbox", quote(n.Proxy.String())))
	}
	var words []string
	for _, d := range n.Egress {
		word := ""
		if d != (Destination{}) { // one that could not be read
			word = d.String()
		}
		words = append(words, word)
	}
	reportRepeats("network.egress", words, report)
}

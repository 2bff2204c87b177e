package initproto

import (
	"net/netip"
	"syscall"
)

// Not in package syscall for every architecture (socket(7)).
const (
	soProtocol = 38
	soDomain   = 39
)

// isListener says whether a descriptor from the sandbox is what was asked for:
// a TCP socket that listens on exactly this address. The supervisor will
// accept on it, and must not be made to read from something else.
func isListener(fd int, want netip.AddrPort) bool {
	for _, rule := range []struct{ option, value int }{
		{soDomain, syscall.AF_INET},
		{syscall.SO_TYPE, syscall.SOCK_STREAM},
		{soProtocol, syscall.IPPROTO_TCP},
		{syscall.SO_ACCEPTCONN, 1},
	} {
		got, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, rule.option)
		if err != nil || got != rule.value {
			return false
		}
	}
	name, err := syscall.Getsockname(fd)
	in, ok := name.(*syscall.SockaddrInet4)
	return err == nil && ok && netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port)) == want
}

package network

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// checkListener says why file is not a TCP socket that listens on exactly
// want in a network namespace other than this process's.
func checkListener(file *os.File, want netip.AddrPort) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return fmt.Errorf("reach descriptor: %w", err)
	}
	var failure error
	if err := conn.Control(func(fd uintptr) { failure = checkSocket(int(fd), want) }); err != nil {
		return fmt.Errorf("reach descriptor: %w", err)
	}
	return failure
}

// checkSocket is checkListener on a plain descriptor. The options are those
// of socket(7); each is read from the kernel.
func checkSocket(fd int, want netip.AddrPort) error {
	for _, option := range []struct {
		name string
		opt  int
		want int
		mean string
	}{
		{"SO_DOMAIN", unix.SO_DOMAIN, unix.AF_INET, "an IPv4 socket"},
		{"SO_TYPE", unix.SO_TYPE, unix.SOCK_STREAM, "a stream socket"},
		// Multipath TCP and SCTP are IPv4 streams too. Go's net.Listen makes
		// multipath listeners unless ListenConfig.SetMultipathTCP(false).
		{"SO_PROTOCOL", unix.SO_PROTOCOL, unix.IPPROTO_TCP, "a TCP socket"},
		{"SO_ACCEPTCONN", unix.SO_ACCEPTCONN, 1, "listening"},
	} {
		got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, option.opt)
		if err != nil {
			return fmt.Errorf("read %s: %w", option.name, err)
		}
		if got != option.want {
			return fmt.Errorf("read %s: %d, want %d: not %s", option.name, got, option.want, option.mean)
		}
	}
	if err := checkBound(fd, want); err != nil {
		return err
	}
	return checkNamespace(fd)
}

// checkBound compares the address a socket is bound to.
func checkBound(fd int, want netip.AddrPort) error {
	name, err := unix.Getsockname(fd)
	if err != nil {
		return fmt.Errorf("read bound address: %w", err)
	}
	inet, ok := name.(*unix.SockaddrInet4)
	if !ok {
		return fmt.Errorf("read bound address: a %T, not IPv4", name)
	}
	got := netip.AddrPortFrom(netip.AddrFrom4(inet.Addr), uint16(inet.Port))
	if got != want {
		return fmt.Errorf("compare bound address: %s, want %s", got, want)
	}
	return nil
}

// checkNamespace refuses a socket of this process's own network namespace: a
// relay there would serve the host, and with the gateway down could connect
// to itself without end. SO_NETNS_COOKIE is in Linux 5.14 and later; without
// it the check, and so the relay, is refused.
func checkNamespace(fd int) error {
	theirs, err := namespaceCookie(fd)
	if err != nil {
		return fmt.Errorf("read network namespace of listener: %w", err)
	}
	probe, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make socket of own network namespace: %w", err)
	}
	defer func() { _ = unix.Close(probe) }()
	ours, err := namespaceCookie(probe)
	if err != nil {
		return fmt.Errorf("read own network namespace: %w", err)
	}
	if theirs == ours {
		return errors.New("compare network namespace: the listener is in the supervisor's own")
	}
	return nil
}

// namespaceCookie is the kernel's never reused number for the network
// namespace of a socket.
func namespaceCookie(fd int) (uint64, error) {
	return unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
}

// stopListening ends listening for every holder of the socket and closes it.
//
// The shutdown comes before the close: the sandbox may keep a copy and clear
// its O_NONBLOCK, and then an accept(2) of ours can sit in the kernel, where
// a close would wait for it for ever. The shutdown wakes it with EINVAL.
func stopListening(l *net.TCPListener) {
	if conn, err := l.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
	}
	_ = l.Close()
}

package network

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Probe says whether something listens at the gateway: it connects, sends
// nothing and resets the connection, which leaves no socket in TIME_WAIT and
// takes none of the host's ports. The error of the connect is wrapped; it comes
// after at most 3 s, or with the end of ctx.
func Probe(ctx context.Context, gateway netip.AddrPort) error {
	done, err := ctx.Err() != nil, context.Cause(ctx)
	if !done {
		done, err = probeNow(gateway)
	}
	if !done {
		err = probeLater(ctx, gateway)
	}
	if err != nil {
		return fmt.Errorf("reach %s: %w", gateway, err)
	}
	return nil
}

// probeNow asks in the few system calls that it takes: on loopback the answer
// is there when connect(2) returns, unless the backlog is full.
func probeNow(gateway netip.AddrPort) (done bool, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return true, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
		return true, os.NewSyscallError("setsockopt", err)
	}
	err = unix.Connect(fd, &unix.SockaddrInet4{Addr: gateway.Addr().As4(), Port: int(gateway.Port())})
	if err == unix.EINPROGRESS {
		ready, pollErr := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 0)
		if pollErr != nil || ready == 0 {
			return false, nil
		}
		var code int
		if code, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err == nil && code != 0 {
			err = unix.Errno(code)
		}
	}
	return true, os.NewSyscallError("connect", err)
}

func probeLater(ctx context.Context, gateway netip.AddrPort) error {
	conn, err := Dial(ctx, net.Dialer{Timeout: dialTimeout}, "tcp4", gateway)
	if err != nil {
		return err
	}
	reset(conn)
	return nil
}

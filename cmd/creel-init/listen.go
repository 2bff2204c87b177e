package main

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/initproto"
)

// backlog is how many connections wait for creeld to accept them.
const backlog = 128

// listen opens a TCP listener on each address, or none at all.
func listen(addresses []netip.AddrPort) ([]int, error) {
	var listeners []int
	for _, a := range addresses {
		fd, err := listenOn(a)
		if err != nil {
			initproto.CloseAll(listeners)
			return nil, err
		}
		listeners = append(listeners, fd)
	}
	return listeners, nil
}

func listenOn(a netip.AddrPort) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, err
	}
	err = unix.Bind(fd, &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())})
	if err == nil {
		err = unix.Listen(fd, backlog)
	}
	if err != nil {
		unix.Close(fd) // the bind or listen that failed is the news
		return -1, err
	}
	return fd, nil
}

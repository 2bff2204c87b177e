package main

import (
	"encoding/binary"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// namespace tells which namespace of a kind this process is in.
func namespace(args []string) {
	link, err := os.Readlink("/proc/self/ns/" + args[0])
	if err != nil {
		report(args[0], err)
		return
	}
	say(args[0], link)
}

// socketcall makes a socket by the i386 call whose arguments are in memory,
// where no filter can look (socketcall(2), seccomp(2)).
func socketcall(family uint32) error {
	// Below 4 GiB, where a pointer of i386 can point.
	page, _, errno := unix.Syscall6(unix.SYS_MMAP, 0, uintptr(os.Getpagesize()), unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_32BIT, none, 0)
	if errno != 0 {
		return errno
	}
	arguments := make([]byte, 12)
	binary.LittleEndian.PutUint32(arguments, family)
	binary.LittleEndian.PutUint32(arguments[4:], unix.SOCK_STREAM)
	copy(unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&page))), len(arguments)), arguments)
	const callSocketcall, sysSocket = 102, 1
	if got := int32(int80(callSocketcall, sysSocket, uint32(page), 0)); got < 0 {
		return syscall.Errno(-got)
	}
	return nil
}

package main

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/initproto"
)

func TestListenerThatCannotBeOpenedFails(t *testing.T) {
	b := newBox(t, engineOptions{})
	want := []netip.AddrPort{
		netip.MustParseAddrPort("127.0.0.1:18789"),
		netip.MustParseAddrPort("127.9.8.7:80"), // needs a capability
	}
	_, err := b.Handshake(b.context(), initproto.Setup{Listen: want})
	var failed *initproto.StartError
	if !errors.As(err, &failed) || failed.Step != initproto.StepListen || failed.Errno != unix.EACCES {
		t.Errorf("got %v", err)
	}
	<-b.ended
}

func TestListenersAreHandedOverAndNotKept(t *testing.T) {
	b := newBox(t, engineOptions{})
	want := []netip.AddrPort{
		netip.MustParseAddrPort("127.0.0.1:18789"),
		netip.MustParseAddrPort("127.9.8.7:8080"),
	}
	fds, err := b.Handshake(b.context(), initproto.Setup{Listen: want})
	must(t, err)
	if len(fds) != 2 {
		t.Fatalf("%d listeners", len(fds))
	}
	listeners := make([]net.Listener, len(fds))
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "listener")
		listeners[i], err = net.FileListener(f)
		must(t, err)
		must(t, f.Close())
		defer listeners[i].Close()
		if got := listeners[i].Addr().String(); got != want[i].String() {
			t.Errorf("listener %d is on %s, want %s", i, got, want[i])
		}
	}
	if n := len(descriptorsOf(t, b.pid)); n != 5 {
		t.Errorf("the init holds %d descriptors, want 5", n)
	}
	go func() {
		conn, err := listeners[0].Accept()
		if err == nil {
			io.WriteString(conn, "from outside\n")
			conn.Close()
		}
	}()
	must(t, b.start(command("/bin/bash", "-c", "cat < /dev/tcp/127.0.0.1/18789; : < /dev/tcp/127.0.0.1/18790")))
	got := b.finish("")
	if got.stdout != "from outside\n" || !strings.Contains(got.stderr, "refused") {
		t.Errorf("got %+v", got)
	}
}

package network

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ends makes a TCP connection and returns both of its ends.
func ends(t *testing.T) (near, far *net.TCPConn) {
	t.Helper()
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if near, err = net.DialTCP("tcp4", nil, l.Addr().(*net.TCPAddr)); err != nil {
		t.Fatal(err)
	}
	if far, err = l.AcceptTCP(); err != nil {
		t.Fatal(err)
	}
	for _, conn := range []*net.TCPConn{near, far} {
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	return near, far
}

// The way to a gateway that is gone fails before what it sent last has been
// read: that is still delivered, and then the reset.
func TestLastWordsOfAGatewayThatResetAreDelivered(t *testing.T) {
	caller, client := ends(t)
	gateway, service := ends(t)
	p := &pair{client: client, far: gateway}
	if _, err := io.WriteString(service, "last words"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "they are at the relay", func() bool { return unsent(service) == 0 })
	reset(service)
	eventually(t, "so is the reset", func() bool { return gone(gateway) })
	if _, err := io.WriteString(caller, "more of the request"); err != nil {
		t.Fatal(err)
	}
	p.copy(gateway, client, &p.downDone, &p.upDone)
	if !p.failed.Load() || p.ended {
		t.Fatalf("after the way up: failed %t, ended %t", p.failed.Load(), p.ended)
	}
	p.copy(client, gateway, &p.upDone, &p.downDone)
	p.abort()
	words, err := io.ReadAll(caller)
	if string(words) != "last words" || !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the caller read %q and %v", words, err)
	}
}

func TestCallerThatResetEndsBothWaysAtOnce(t *testing.T) {
	caller, client := ends(t)
	gateway, service := ends(t)
	p := &pair{client: client, far: gateway}
	reset(caller)
	p.copy(gateway, client, &p.downDone, &p.upDone)
	if !p.ended {
		t.Error("the other way goes on, with nobody to read")
	}
	wantReset(t, service)
}

// unsent is how many bytes the other side has not acknowledged (tcp(7),
// SIOCOUTQ).
func unsent(conn *net.TCPConn) int {
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1
	}
	n := -1
	_ = raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) })
	return n
}

package network

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var lo = [4]byte{127, 0, 0, 1}

var declared = netip.MustParseAddrPort("127.0.0.1:18789")

func bindTo(address [4]byte, port int) func(int) error {
	return func(fd int) error { return unix.Bind(fd, &unix.SockaddrInet4{Addr: address, Port: port}) }
}

func listenOn(address [4]byte, port int) func(int) error {
	return func(fd int) error {
		if err := bindTo(address, port)(fd); err != nil {
			return err
		}
		return unix.Listen(fd, 8)
	}
}

func TestRelayTakesTheDeclaredListener(t *testing.T) {
	ns := newNamespace(t)
	relay, err := New(ns.listen("tcp4", declared.String()), declared, 1, Gateway(declared))
	if err != nil {
		t.Fatalf("the right listener was refused: %v", err)
	}
	relay.Close()
}

// wrongDescriptors are what a sandbox might send; each differs from the
// declared listener in one thing.
var wrongDescriptors = []struct {
	name string
	make func(t *testing.T, ns *namespace) *os.File
	want string
}{
	{"UDP", func(_ *testing.T, ns *namespace) *os.File {
		return ns.socket(unix.AF_INET, unix.SOCK_DGRAM, 0, bindTo(lo, 18789))
	}, "not a stream socket"},
	{"raw", func(_ *testing.T, ns *namespace) *os.File {
		return ns.socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_TCP, func(int) error { return nil })
	}, "not a stream socket"},
	{"IPv6", func(_ *testing.T, ns *namespace) *os.File {
		return ns.listen("tcp6", "[::1]:18789")
	}, "not an IPv4 socket"},
	{"IPv6 wildcard that takes IPv4 too", func(_ *testing.T, ns *namespace) *os.File {
		return ns.listen("tcp", "[::]:18789")
	}, "not an IPv4 socket"},
	{"multipath TCP", func(_ *testing.T, ns *namespace) *os.File {
		return ns.socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP, listenOn(lo, 18789))
	}, "not a TCP socket"},
	{"bound, not listening", func(_ *testing.T, ns *namespace) *os.File {
		return ns.socket(unix.AF_INET, unix.SOCK_STREAM, 0, bindTo(lo, 18789))
	}, "not listening"},
	{"other port", func(_ *testing.T, ns *namespace) *os.File {
		return ns.listen("tcp4", "127.0.0.1:18790")
	}, "compare bound address: 127.0.0.1:18790"},
	{"other loopback address", func(_ *testing.T, ns *namespace) *os.File {
		return ns.listen("tcp4", "127.0.0.2:18789")
	}, "compare bound address: 127.0.0.2:18789"},
	{"wildcard", func(_ *testing.T, ns *namespace) *os.File {
		return ns.listen("tcp4", "0.0.0.0:18789")
	}, "compare bound address: 0.0.0.0:18789"},
	{"connected", connectedSocket, "not listening"},
	{"Unix", func(t *testing.T, _ *namespace) *os.File {
		l, err := net.Listen("unix", t.TempDir()+"/socket")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		file, err := l.(*net.UnixListener).File()
		if err != nil {
			t.Fatal(err)
		}
		return file
	}, "not an IPv4 socket"},
	{"pipe", func(t *testing.T, _ *namespace) *os.File {
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = write.Close() })
		return read
	}, "socket operation on non-socket"},
	{"host's own network namespace", func(t *testing.T, _ *namespace) *os.File {
		l, err := listen("tcp4", declared.String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		file, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		return file
	}, "the supervisor's own"},
}

func TestRelayRefusesAnyOtherDescriptor(t *testing.T) {
	for _, test := range wrongDescriptors {
		t.Run(test.name, func(t *testing.T) {
			file := test.make(t, newNamespace(t))
			relay, err := New(file, declared, 1, Gateway(declared))
			if err == nil {
				relay.Close()
				t.Fatal("taken")
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("refused with %q, want %q in it", err, test.want)
			}
			if err := file.Close(); err == nil {
				t.Error("a refused descriptor was left open")
			}
		})
	}
}

// connectedSocket is bound to the declared address, as one end of a
// connection.
func connectedSocket(t *testing.T, ns *namespace) *os.File {
	ns.listen("tcp4", "127.0.0.1:1234")
	return ns.socket(unix.AF_INET, unix.SOCK_STREAM, 0, func(fd int) error {
		if err := bindTo([4]byte{127, 0, 0, 1}, 18789)(fd); err != nil {
			return err
		}
		return unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 1234})
	})
}

func TestRelayRefusesGatewayThatIsNotIPv4Loopback(t *testing.T) {
	for address, want := range map[string]string{
		"127.0.0.1:18789":          "",
		"127.8.9.10:1":             "",
		"10.0.0.1:18789":           "not a loopback address",
		"0.0.0.0:18789":            "not a loopback address",
		"169.254.169.254:80":       "not a loopback address",
		"[::1]:18789":              "not an IPv4 address",
		"[::ffff:127.0.0.1]:18789": "not an IPv4 address",
		"127.0.0.1:0":              "port 0",
	} {
		err := checkAddress(netip.MustParseAddrPort(address))
		if want == "" && err != nil {
			t.Errorf("%s: refused: %v", address, err)
		}
		if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
	}
	ns := newNamespace(t)
	if _, err := New(ns.listen("tcp4", declared.String()), netip.AddrPort{}, 1, Gateway(declared)); err == nil {
		t.Error("the zero gateway was taken")
	}
	if _, err := New(ns.listen("tcp4", declared.String()), declared, 0, Gateway(declared)); err == nil {
		t.Error("a limit of no connections was taken")
	}
}

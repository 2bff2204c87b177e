package enginetest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// post is a listener of the host that answers "pong" and counts its visitors.
type post struct {
	address string // as the probe writes it
	visits  atomic.Int64
}

// posts listen everywhere a program of the host can, but at the gateway.
func (s *site) posts(t *testing.T) []*post {
	t.Helper()
	var all []*post
	for _, at := range [][2]string{
		{"tcp4", "127.0.0.1:0"}, {"tcp4", "127.0.0.2:0"}, {"tcp6", "[::1]:0"}, {"tcp4", "0.0.0.0:0"},
		{"unix", "@" + canary}, {"unix", s.outside + "/sock"},
	} {
		l, err := net.Listen(at[0], at[1])
		s.check(err)
		t.Cleanup(func() { l.Close() })
		address := l.Addr().String()
		if at[0] == "tcp4" && strings.HasPrefix(at[1], "0.0.0.0") {
			_, port, _ := net.SplitHostPort(address)
			address = hostAddress(t) + ":" + port
		}
		p := &post{address: at[0] + "=" + address}
		all = append(all, p)
		go p.serve(l)
	}
	for _, at := range [][2]string{{"udp4", "127.0.0.1:0"}, {"udp6", "[::1]:0"}} {
		c, err := net.ListenPacket(at[0], at[1])
		s.check(err)
		t.Cleanup(func() { c.Close() })
		p := &post{address: at[0] + "=" + c.LocalAddr().String()}
		all = append(all, p)
		go p.answer(c)
	}
	return all
}

func (p *post) serve(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		p.visits.Add(1)
		go func() {
			defer conn.Close()
			var b [4]byte
			if _, err := io.ReadFull(conn, b[:]); err == nil {
				_, _ = io.WriteString(conn, "pong")
			}
		}()
	}
}

func (p *post) answer(c net.PacketConn) {
	var b [64]byte
	for {
		_, from, err := c.ReadFrom(b[:])
		if err != nil {
			return
		}
		p.visits.Add(1)
		_, _ = c.WriteTo([]byte("pong"), from)
	}
}

// hostAddress is one of the machine's addresses besides loopback, if it has
// one, else one more of loopback.
func hostAddress(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() && n.IP.To4() != nil {
			return n.IP.String()
		}
	}
	return "127.0.0.3"
}

// gateway is an HTTP server at a port that the policies name.
func gateway(t *testing.T) (server *httptest.Server, policies map[string]string) {
	t.Helper()
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "gateway %s", r.URL.Path) }))
	t.Cleanup(server.Close)
	return server, map[string]string{"online": "network: {gateway: \"" + server.Listener.Addr().String() + "\"}"}
}

func TestSandboxReachesTheGatewayAndNothingElse(t *testing.T) {
	server, policies := gateway(t)
	onEachTarget(t, policies, func(t *testing.T, s *site) {
		posts := s.posts(t)
		vsockPort, closeVsock := listenVsock(t)
		defer closeVsock()
		args := []string{"dial", "vsock=" + vsockPort, "tcp4=192.0.2.1:80", "tcp6=[2001:db8::1]:80", "udp4=192.0.2.1:53", "udp4=127.0.0.1:53", "udp4=127.0.0.53:53",
			"unix=" + s.Dir + "/run/exec.sock", "unix=" + s.Dir + "/run/admin.sock", "unix=/run/systemd/notify", "unix=/run/docker.sock", "unix=/var/run/docker.sock"}
		for _, p := range posts {
			args = append(args, p.address)
		}
		for _, policy := range []string{filtered, unfiltered, "online"} {
			got := s.inside(policy, args...)
			got.expect(t, policy, got.all("ECONNREFUSED|ENETUNREACH|ENOENT|EADDRNOTAVAIL", outcomes{"vsock=" + vsockPort: "EAFNOSUPPORT"}))
		}
		for _, p := range posts {
			if n := p.visits.Load(); n != 0 {
				t.Errorf("%s was reached %d times", p.address, n)
			}
			// The control: the same from outside.
			s.control(0, "dial", p.address).expect(t, "outside", outcomes{p.address: "ok"})
		}
		s.vsockControl(t, vsockPort)
		for _, get := range []string{
			"curl -sS --max-time 10 " + server.URL + "/curl",
			`python3 -c "import urllib.request as u; print(u.urlopen('` + server.URL + `/curl').read().decode(), end='')"`,
		} {
			if r := s.Creel("exec", "--policy", "online", "--", "sh", "-c", get); r.Stdout != "gateway /curl" {
				t.Errorf("%s: exit %d, %q, %q", get, r.Code, r.Stdout, r.Stderr)
			}
			// Without 'network:' there is not even that.
			if r := s.Creel("exec", "--policy", filtered, "--", "sh", "-c", get); r.Code == 0 || r.Stdout != "" {
				t.Errorf("%s without a network: exit %d, %q", get, r.Code, r.Stdout)
			}
		}
	})
}

// listenVsock listens on a port of AF_VSOCK, where the kernel has it.
func listenVsock(t *testing.T) (port string, close func()) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Logf("this kernel has no vsock: %v", err)
		return "1", func() {}
	}
	const number = 47263
	if err := unix.Bind(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_ANY, Port: number}); err != nil {
		t.Fatalf("bind vsock: %v", err)
	}
	if err := unix.Listen(fd, 8); err != nil {
		t.Fatalf("listen on vsock: %v", err)
	}
	return fmt.Sprint(number), func() { unix.Close(fd) }
}

// vsockControl shows that without a sandbox vsock is there to be tried.
func (s *site) vsockControl(t *testing.T, port string) {
	t.Helper()
	if got := s.control(0, "dial", "vsock="+port)["vsock="+port]; got == "EAFNOSUPPORT" && port != "1" {
		t.Errorf("outside: vsock: %q", got)
	}
}

func TestSandboxHasNoNameService(t *testing.T) {
	_, policies := gateway(t)
	onEachTarget(t, policies, func(t *testing.T, s *site) {
		script := `python3 - <<'END'
import socket
for name in ("example.org", "metadata.google.internal", "sandbox.invalid"):
    try:
        print(name, socket.getaddrinfo(name, 80)[0][4])
    except socket.gaierror:
        print(name, "refused")
print("localhost", socket.getaddrinfo("localhost", 80, socket.AF_INET)[0][4][0])
END
cat /etc/resolv.conf; tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; tail -n +2 /proc/net/route`
		want := "example.org refused\nmetadata.google.internal refused\nsandbox.invalid refused\nlocalhost 127.0.0.1\nlo\n"
		for _, policy := range []string{filtered, "online"} {
			if r := s.Creel("exec", "--policy", policy, "--", "sh", "-c", script); r.Stdout != want {
				t.Errorf("%s: %q, want %q (%s)", policy, r.Stdout, want, r.Stderr)
			}
		}
	})
}

// A gateway that goes down while a command runs; one that is down before it
// starts refuses the command.
func TestGatewayDownIsRefusedAtOnce(t *testing.T) {
	for _, target := range testrig.Targets {
		t.Run(target.String(), func(t *testing.T) {
			server, policies := gateway(t)
			s := start(t, target, policies)
			cmd := s.Command("exec", "-i", "--policy", "online", "--", "sh", "-c",
				`curl -sS "$0/up"; echo; read x; curl -sS --max-time 30 "$0/down"; echo "ended $?"`, server.URL)
			stdin, err := cmd.StdinPipe()
			s.check(err)
			stdout, err := cmd.StdoutPipe()
			s.check(err)
			s.check(cmd.Start())
			out := bufio.NewReader(stdout)
			if line, err := out.ReadString('\n'); line != "gateway /up\n" {
				t.Errorf("with the gateway up: %q, %v", line, err)
			}
			server.Close()
			began := time.Now()
			s.check(stdin.Close())
			// curl(1): 7 is a failed connect, 56 and 52 a reset or an empty reply.
			line, err := out.ReadString('\n')
			if took := time.Since(began); !slices.Contains([]string{"ended 7\n", "ended 52\n", "ended 56\n"}, line) || took > 5*time.Second {
				t.Errorf("with the gateway down: %q, %v after %v", line, err, took)
			}
			s.check(cmd.Wait())
		})
	}
}

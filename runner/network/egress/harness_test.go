package egress

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/integration/internet"
)

func TestMain(m *testing.M) { os.Exit(internet.Main(m)) }

// world is an Internet with the one service that is allowed, and others.
type world struct {
	*internet.Internet
	authority *internet.Authority
	api       *internet.Service // api.example.org, the allowed one
	others    []*internet.Service
	proxy     *Proxy

	mu       sync.Mutex
	refusals []*Refusal
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Internet: internet.New(t)}
	w.authority = w.NewAuthority()
	w.api = w.Serve(w.authority, "93.184.216.34:443", false, "api.example.org")
	for _, address := range []string{
		"93.184.216.34:80", "93.184.216.35:443", "10.0.0.5:443", "169.254.169.254:443", "169.254.169.254:80", "100.100.100.200:443", "168.63.129.16:443",
		"192.168.7.7:443", "[2606:2800:220:1::2]:443", "[fd00:ec2::254]:443", "[64:ff9b::a00:5]:443",
	} {
		w.others = append(w.others, w.Serve(w.authority, address, false, "other.example.org"))
	}
	for _, address := range []string{"127.0.0.1:443", "127.0.0.1:18789", "[::1]:443", internet.HostAddress + ":443", "[" + internet.HostAddress6 + "]:443"} {
		w.others = append(w.others, w.Serve(w.authority, address, true, "host.example.org"))
	}
	w.Name("api.example.org", "93.184.216.34")
	w.Name("other.example.org", "93.184.216.35")
	var err error
	w.proxy, err = New([]Destination{
		{"api.example.org", 443}, {"six.example.org", 443}, {"93.184.216.34", 443}, {"inside.example.org", 443}, {"gone.example.org", 443},
		{"closed.example.org", 444},
	}, func(r *Refusal) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.refusals = append(w.refusals, r)
	})
	check(t, err)
	return w
}

// refused are the refusals since it was last called.
func (w *world) refused() []*Refusal {
	w.mu.Lock()
	defer w.mu.Unlock()
	refusals := w.refusals
	w.refusals = nil
	return refusals
}

// connection is a sandbox's, to the proxy. What the relay does is done here:
// the far side is copied, or the connection reset.
func (w *world) connection(t *testing.T) *net.TCPConn {
	t.Helper()
	listener, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	check(t, err)
	defer listener.Close()
	caller, err := net.DialTCP("tcp4", nil, listener.Addr().(*net.TCPAddr))
	check(t, err)
	t.Cleanup(func() { caller.Close() })
	check(t, caller.SetDeadline(time.Now().Add(time.Minute)))
	client, err := listener.AcceptTCP()
	check(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer client.Close()
		far, err := w.proxy.Connect(context.Background(), client)
		if err != nil {
			return
		}
		defer far.Close()
		go func() {
			_, _ = io.Copy(far, client)
			_ = far.CloseWrite()
		}()
		_, _ = io.Copy(client, far)
	}()
	t.Cleanup(func() { caller.Close(); <-ended })
	return caller
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

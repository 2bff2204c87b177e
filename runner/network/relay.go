// Package network carries what a sandbox may reach, and what of an agent is
// reached: a relay from a listening socket to what its connector finds. The
// socket is in the sandbox's own network namespace, and the connector's is the
// gateway or, in package egress, a declared service; or it is on the host's
// loopback, and the connector's is a port inside an agent's sandbox.
//
// It imports the standard library, golang.org/x/sys and x/time/rate only. It
// never resolves a name and never chooses a destination from what a sandbox sends:
// that of Gateway is fixed when it is made.
//
// What a caller inside the sandbox sees. The kernel completes a TCP handshake
// before accept(2) returns, so a relay cannot answer a SYN with a refusal
// while its socket listens: a connection that will not be served (gateway
// down, too many at once) is made and reset at once, so connect(2) or the
// caller's first read or write fails with ECONNRESET. Dialling before
// accepting would look the same and would let one slow dial hold up the rest.
// Not listening while the gateway is down would need probes, and would keep
// refusing for a while after it is back. Once the relay is closed, connect
// itself is refused (ECONNREFUSED).
package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"
)

const (
	// The pause after an accept that failed for want of descriptors or
	// memory doubles from the first to the second.
	firstBackoff = 5 * time.Millisecond
	lastBackoff  = time.Second
)

// ErrClosed is returned by Serve when the relay was closed before.
var ErrClosed = errors.New("relay is closed")

// counts are of the connections of one relay since its start. Accepted ones were
// offered by the sandbox; each is then relayed, refused (too many at once) or
// failed (its connector had nothing for it, such as a gateway that did not answer).
type counts struct {
	accepted uint64
	refused  uint64 // reset at the limit of connections
	failed   uint64 // ended because there was nothing to connect it to
}

// Connector finds the other end of a connection that the sandbox made. It may
// talk with client first, which is reset when there is an error. The end of
// ctx, or a client that is closed, ends it at once.
type Connector interface {
	Connect(ctx context.Context, client *net.TCPConn) (*net.TCPConn, error)
}

// Relay serves one listening socket of a sandbox and connects what it accepts
// to what its connector finds. Its methods may be called from any goroutine.
type Relay struct {
	connector Connector
	maxConns  int
	listener  *net.TCPListener
	ctx       context.Context // ends the dials and the back-off
	cancel    context.CancelFunc
	pace      *rate.Limiter  // of Serve
	served    sync.WaitGroup // one per connection and one for Serve

	mu     sync.Mutex
	closed bool
	open   map[*pair]struct{}
	counts counts // which tests look at
}

// New checks that listener is a TCP socket listening on exactly the address
// at, of IPv4 loopback, in another network namespace than this process's (the
// sandbox that sent it is not trusted). It takes listener over and closes it,
// also when it fails. At most maxConns connections are open at once; it must
// be positive.
func New(listener *os.File, at netip.AddrPort, maxConns int, connector Connector) (*Relay, error) {
	defer func() { _ = listener.Close() }()
	if err := checkAddress(at); err != nil {
		return nil, fmt.Errorf("check address %s: %w", at, err)
	}
	if maxConns < 1 {
		return nil, fmt.Errorf("check limit of connections: %d is not positive", maxConns)
	}
	if err := checkListener(listener, at); err != nil {
		return nil, fmt.Errorf("check listener: %w", err)
	}
	l, err := net.FileListener(listener)
	if err != nil {
		return nil, fmt.Errorf("take over listener: %w", err)
	}
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		_ = l.Close()
		return nil, fmt.Errorf("take over listener: a %T, not a TCP listener", l)
	}
	return newRelay(tcp, maxConns, connector), nil
}

func newRelay(listener *net.TCPListener, maxConns int, connector Connector) *Relay {
	ctx, cancel := context.WithCancel(context.Background())
	return &Relay{
		connector: connector, maxConns: maxConns, listener: listener,
		ctx: ctx, cancel: cancel, open: make(map[*pair]struct{}),
		pace: newPace(),
	}
}

// checkAddress accepts an address that a policy may name.
func checkAddress(at netip.AddrPort) error {
	switch {
	case !at.Addr().Is4():
		return errors.New("not an IPv4 address")
	case !at.Addr().IsLoopback():
		return errors.New("not a loopback address")
	case at.Port() == 0:
		return errors.New("port 0 names no service")
	}
	return nil
}

// Serve accepts connections until ctx ends or Close is called, then closes
// the relay and returns nil. It returns an error when the listening socket
// itself fails, such as when the sandbox shut its own copy down. It is called
// once.
func (r *Relay) Serve(ctx context.Context) error {
	if !r.begin() {
		return ErrClosed
	}
	defer r.Close()
	defer r.served.Done() // before Close, which waits for it
	stop := context.AfterFunc(ctx, r.shutdown)
	defer stop()
	backoff := firstBackoff
	for {
		client, err := r.listener.AcceptTCP()
		switch {
		case err == nil:
			backoff = firstBackoff
			r.admit(client)
			r.pause(next(r.pace, time.Now()))
		case r.ctx.Err() != nil:
			return nil
		case !passing(err):
			return fmt.Errorf("accept connection: %w", err)
		default:
			r.pause(backoff)
			backoff = min(2*backoff, lastBackoff)
		}
	}
}

// begin counts one more goroutine that Close must wait for.
func (r *Relay) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.served.Add(1)
	return true
}

// pause waits for d or until the relay ends.
func (r *Relay) pause(d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.ctx.Done():
	}
}

// passing says whether accept may work again later: out of descriptors or
// memory, or an error of the network that accept(2) says to treat like EAGAIN.
func passing(err error) bool {
	for _, errno := range []unix.Errno{
		unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM,
		unix.ENETDOWN, unix.EPROTO, unix.ENOPROTOOPT, unix.EHOSTDOWN,
		unix.ENONET, unix.EHOSTUNREACH, unix.EOPNOTSUPP, unix.ENETUNREACH,
	} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// admit starts relaying client, or resets it at the limit.
func (r *Relay) admit(client *net.TCPConn) {
	// An accepted socket inherits the listener's options, which the sandbox
	// can set through its own copy. A linger time would make close(2) block
	// for as long as the sandbox likes, so it goes first.
	if err := client.SetLinger(-1); err != nil {
		reset(client)
		return
	}
	p := &pair{client: client}
	r.mu.Lock()
	r.counts.accepted++
	full := r.closed || len(r.open) >= r.maxConns
	if full {
		r.counts.refused++
	} else {
		r.open[p] = struct{}{}
		r.served.Add(1)
	}
	r.mu.Unlock()
	if full {
		reset(client)
		return
	}
	go r.relay(p)
}

// relay connects one accepted connection and copies until both directions
// have ended.
func (r *Relay) relay(p *pair) {
	defer r.served.Done()
	defer r.forget(p)
	far, err := r.connector.Connect(r.ctx, p.client)
	if err != nil {
		r.mu.Lock()
		r.counts.failed++
		r.mu.Unlock()
		p.abort()
		return
	}
	if !p.connect(far) {
		return
	}
	p.run()
}

// forget takes an ended connection off the books.
func (r *Relay) forget(p *pair) {
	r.mu.Lock()
	delete(r.open, p)
	r.mu.Unlock()
}

// Close stops listening, resets every connection and waits until all of the
// relay's goroutines have ended. It may be called more than once.
func (r *Relay) Close() {
	r.shutdown()
	r.served.Wait()
}

// shutdown is Close without the waiting.
func (r *Relay) shutdown() {
	r.mu.Lock()
	first := !r.closed
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	if first {
		stopListening(r.listener)
	}
	r.HangUp()
}

// HangUp resets every connection there is and goes on listening: what they
// led to has ended, and must not be kept by them.
func (r *Relay) HangUp() {
	r.mu.Lock()
	pairs := make([]*pair, 0, len(r.open))
	for p := range r.open {
		pairs = append(pairs, p)
	}
	r.mu.Unlock()
	for _, p := range pairs {
		p.abort()
	}
}

// Package egress connects a sandbox to the services that its policy names, and
// to nothing else: a proxy that is asked by HTTP CONNECT (RFC 9110 9.3.6) or
// SOCKS5 (RFC 1928) over the relay's connections.
//
// What is asked for is brought to one form once (Canonical) and looked up in
// the declared list; from then on only the list's own words are used. The name
// is resolved here, never in the sandbox, and refused where any of its
// addresses is not a public one, so that a name that is made to point inside
// (DNS rebinding) reaches nothing. What is carried is TLS: the name in its
// first message (SNI, RFC 6066) must be the one that was asked for.
//
// It cannot see inside TLS: whoever serves a declared name, also for others on
// the same address (domain fronting), can be talked to. It carries no plain
// HTTP, no UDP, and no connection to the sandbox.
//
// It imports package network and what it is made of: the standard library, and
// libraries that know host names and special addresses. It never logs, and holds no secret.
package egress

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"
)

const (
	// askTime bounds the whole conversation before bytes are carried, the
	// first message of TLS included.
	askTime = 30 * time.Second
	// maxAsk bounds what a sandbox may say in it, in bytes: the longest SOCKS
	// or HTTP request that means something, and a TLS ClientHello, which may
	// take 64 KiB (crypto/tls, maxHandshakeClientCert).
	maxAsk = 96 << 10
	// lastWords is how long a refusal waits for its reader.
	lastWords = time.Second
)

// Destination is a declared service.
type Destination struct {
	Host string // in the form of Canonical
	Port uint16
}

func (d Destination) String() string {
	return net.JoinHostPort(d.Host, strconv.Itoa(int(d.Port)))
}

// Refusal is why a connection was not made. Its fields go into logs and
// answers; none holds more than a few hundred bytes of what the sandbox sent.
type Refusal struct {
	// Asked is what was asked for, in printable form; empty where it could not
	// be read.
	Asked string
	// Rule is the error type of RFC 9209 2.3 that comes nearest.
	Rule string
	// Reason says it for people.
	Reason string
}

func (r *Refusal) Error() string {
	if r.Asked == "" {
		return "egress: " + r.Reason
	}
	return "egress to " + r.Asked + ": " + r.Reason
}

// The rules, by their names in RFC 9209 2.3.
const (
	RuleRequest     = "http_request_error"        // the sandbox's words are not those of a proxy's client
	RuleDenied      = "http_request_denied"       // not on the list
	RuleDNS         = "dns_error"                 // the name has no address
	RuleProhibited  = "destination_ip_prohibited" // an address that is not public
	RuleUnreachable = "destination_ip_unroutable" // no connection
	RuleTLS         = "tls_protocol_error"        // not TLS, or for another name
)

// Proxy is a network.Connector that connects to declared destinations alone.
type Proxy struct {
	allowed  map[Destination]bool
	told     func(*Refusal)
	resolver *net.Resolver
}

// New makes a proxy for a list of destinations; an empty list allows none.
// told, which is called from any goroutine, learns of each refusal. A
// destination that is not in its canonical form is an error, for nothing would
// ever match it.
func New(destinations []Destination, told func(*Refusal)) (*Proxy, error) {
	p := &Proxy{allowed: map[Destination]bool{}, told: told, resolver: &net.Resolver{PreferGo: true}}
	for _, d := range destinations {
		host, err := Canonical(d.Host)
		if err != nil || host != d.Host || d.Port == 0 {
			return nil, fmt.Errorf("read destination %q: not in its canonical form", d.String())
		}
		p.allowed[d] = true
	}
	return p, nil
}

// Connect implements network.Connector: it hears what the sandbox asks for,
// connects to it, hears the first message of TLS and passes it on.
func (p *Proxy) Connect(ctx context.Context, client *net.TCPConn) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	if deadline, ok := ctx.Deadline(); ok {
		if err := client.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	a := &asking{in: bufio.NewReader(&io.LimitedReader{R: client, N: maxAsk}), out: client}
	far, err := p.serve(ctx, a)
	var refused *Refusal
	if errors.As(err, &refused) {
		p.told(refused)
		linger(client)
	}
	if err != nil {
		return nil, err
	}
	if err := client.SetDeadline(time.Time{}); err != nil {
		_ = far.Close()
		return nil, err
	}
	return far, nil
}

// asking is the conversation with the sandbox.
type asking struct {
	in  *bufio.Reader
	out io.Writer
}

// protocol is how a sandbox asks and is answered.
type protocol interface {
	// ask reads what is asked for: a host, in the sandbox's words, and a port.
	ask(a *asking) (host string, port uint16, err error)
	// grant says that what follows is carried.
	grant(a *asking) error
	// refuse says why it is not. What cannot be said is not.
	refuse(a *asking, r *Refusal)
}

// serve has one conversation. A refusal has been answered when it returns.
func (p *Proxy) serve(ctx context.Context, a *asking) (*net.TCPConn, error) {
	first, err := a.in.Peek(1)
	if err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	var speaks protocol = httpConnect{}
	if first[0] == socksVersion {
		speaks = socks5{}
	}
	host, port, err := speaks.ask(a)
	if err != nil {
		return nil, answered(speaks, a, "", err)
	}
	asked := printable(net.JoinHostPort(host, strconv.Itoa(int(port))))
	to, err := p.find(host, port)
	if err != nil {
		return nil, answered(speaks, a, asked, err)
	}
	far, err := p.dial(ctx, to)
	if err != nil {
		return nil, answered(speaks, a, asked, err)
	}
	if err := speaks.grant(a); err != nil {
		_ = far.Close()
		return nil, fmt.Errorf("answer: %w", err)
	}
	if err := begin(a, far, to); err != nil {
		_ = far.Close()
		var refused *Refusal
		if errors.As(err, &refused) {
			refused.Asked = asked
		}
		return nil, err
	}
	return far, nil
}

// answered tells the sandbox of a refusal, and gives it back complete.
func answered(speaks protocol, a *asking, asked string, err error) error {
	var refused *Refusal
	if !errors.As(err, &refused) {
		return err
	}
	refused.Asked = asked
	speaks.refuse(a, refused)
	return refused
}

// find looks up what is asked for. The destination it returns is the list's.
func (p *Proxy) find(host string, port uint16) (Destination, error) {
	name, err := Canonical(host)
	if err != nil {
		return Destination{}, &Refusal{Rule: RuleDenied, Reason: err.Error()}
	}
	to := Destination{name, port}
	if !p.allowed[to] {
		return Destination{}, &Refusal{Rule: RuleDenied, Reason: "the policy's network.egress does not name it"}
	}
	return to, nil
}

// begin hears the first message of TLS, and passes it on if it is for the
// destination.
func begin(a *asking, far *net.TCPConn, to Destination) error {
	hello, name, err := readHello(a.in)
	if err != nil {
		return &Refusal{Rule: RuleTLS, Reason: "what follows is not TLS, and nothing else is carried"}
	}
	want := to.Host
	if _, err := netip.ParseAddr(want); err == nil {
		want = "" // RFC 6066 3: a literal address is not sent
	}
	if name != "" {
		if name, err = Canonical(name); err != nil {
			name = "?"
		}
	}
	if name != want {
		return &Refusal{Rule: RuleTLS, Reason: "TLS is begun for another name (SNI) than was asked for"}
	}
	rest, err := a.in.Peek(a.in.Buffered())
	if err != nil {
		return fmt.Errorf("read what follows: %w", err)
	}
	if _, err := far.Write(append(hello, rest...)); err != nil {
		return fmt.Errorf("pass on: %w", err)
	}
	return nil
}

// linger lets the last words arrive: a connection that is closed with data
// unread is reset, and its reader may lose them (RFC 9293 3.10.4).
func linger(client *net.TCPConn) {
	_ = client.SetDeadline(time.Now().Add(lastWords))
	if client.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, client, maxAsk)
	}
}

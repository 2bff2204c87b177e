package egress

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
)

// errHeard ends the reading of a handshake whose first message was heard.
var errHeard = errors.New("heard")

// readHello reads the first message of a TLS client, in as many records as it
// has, and returns its bytes, all that was read, and the name it is for, empty
// where it has none. crypto/tls reads it, and is told to stop there.
func readHello(in io.Reader) (raw []byte, name string, err error) {
	listener := &overhearer{in: in}
	server := tls.Server(listener, &tls.Config{
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			name = hello.ServerName
			return nil, errHeard
		},
	})
	if err := server.Handshake(); !errors.Is(err, errHeard) {
		return nil, "", err
	}
	return listener.heard.Bytes(), name, nil
}

// overhearer is a connection that keeps what is read from it, and says
// nothing.
type overhearer struct {
	net.Conn // nil: a handshake that does more than read panics
	in       io.Reader
	heard    bytes.Buffer
}

func (o *overhearer) Read(p []byte) (int, error) {
	n, err := o.in.Read(p)
	o.heard.Write(p[:n])
	return n, err
}

// Write drops what TLS would say of an error: the sandbox hears nothing.
func (o *overhearer) Write(p []byte) (int, error) { return len(p), nil }

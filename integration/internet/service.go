package internet

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync"
	"time"
)

// Service is a TLS server that answers what it reads with itself, and counts
// the bytes that reach it, whatever they are.
type Service struct {
	Address string

	mu     sync.Mutex
	answer string
	bytes  int
	lines  []string
}

// Reached gives the bytes that came since it was last called, those of TLS
// included, and the lines among them.
func (s *Service) Reached() (bytes int, lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	bytes, lines = s.bytes, s.lines
	s.bytes, s.lines = 0, nil
	return bytes, lines
}

// Answer has the service say something else to the first that it reads, and
// end.
func (s *Service) Answer(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = text
}

// Authority signs the certificates of an Internet's services.
type Authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// NewAuthority makes one.
func (i *Internet) NewAuthority() *Authority {
	i.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(i.t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tests"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	check(i.t, err)
	certificate, err := x509.ParseCertificate(der)
	check(i.t, err)
	return &Authority{certificate, key}
}

// PEM is what a client trusts.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.certificate.Raw})
}

// Pool is what a Go client trusts.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return pool
}

// Serve serves at an address of the Internet, or with near of the test's own
// host, with a certificate for names.
func (i *Internet) Serve(a *Authority, address string, near bool, names ...string) *Service {
	i.t.Helper()
	config, listener := i.certify(a, names), i.listen(address, near)
	s := &Service{Address: address}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go s.serve(conn, config)
		}
	}()
	return s
}

// Handle has a handler serve HTTP over TLS at an address of the Internet.
func (i *Internet) Handle(a *Authority, address string, handler http.Handler, names ...string) {
	i.t.Helper()
	server := &http.Server{Handler: handler}
	listener := tls.NewListener(i.listen(address, false), i.certify(a, names))
	i.t.Cleanup(func() { _ = server.Close() })
	go func() { _ = server.Serve(listener) }() // until it is closed
}

// certify gives a service a certificate for names.
func (i *Internet) certify(a *Authority, names []string) *tls.Config {
	i.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(i.t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	check(i.t, err)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// listen listens at an address of the Internet, or of the test's own host.
func (i *Internet) listen(address string, near bool) (listener net.Listener) {
	i.t.Helper()
	listen := func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	}
	if near {
		check(i.t, listen())
	} else {
		i.do(listen)
	}
	i.t.Cleanup(func() { listener.Close() })
	return listener
}

func (s *Service) serve(conn net.Conn, config *tls.Config) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	inner := tls.Server(&counted{conn, s}, config)
	buffer := make([]byte, 4096)
	for {
		n, err := inner.Read(buffer)
		if n > 0 {
			s.mu.Lock()
			s.lines = append(s.lines, string(buffer[:n]))
			answer := s.answer
			s.mu.Unlock()
			if answer != "" {
				_, _ = io.WriteString(inner, answer)
				_ = inner.Close()
				return
			}
			_, _ = inner.Write(buffer[:n])
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				_ = inner.Close()
			}
			_ = conn.(*net.TCPConn).CloseWrite() // whoever waits for an answer need not
			_, _ = io.Copy(io.Discard, &counted{conn, s})
			return
		}
	}
}

// counted counts what is read from a connection.
type counted struct {
	net.Conn
	of *Service
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.of.mu.Lock()
	c.of.bytes += n
	c.of.mu.Unlock()
	return n, err
}

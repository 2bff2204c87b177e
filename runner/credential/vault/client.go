package vault

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/vault/api"
)

// maxBody bounds what a server may say.
const maxBody = 1 << 20

// The bounds of one connection. All of a Fetch has its own.
const (
	dialTimeout = 5 * time.Second
	idleTimeout = 90 * time.Second
)

// newClient makes a client that goes to address and nowhere else.
func newClient(address, namespace string, roots *x509.CertPool) (*api.Client, error) {
	transport := &http.Transport{
		Proxy:                  nil, // none of the environment's
		DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout:    dialTimeout,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        idleTimeout,
		DisableCompression:     true, // a small body would become a large one
		ForceAttemptHTTP2:      true,
	}
	client, err := api.NewClient(&api.Config{
		Address: address, DisableRedirects: true,
		HttpClient: &http.Client{
			Transport:     bounded{transport},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		Timeout: answerTimeout,
		// What may be repeated is known to whoever asks.
		CheckRetry: func(context.Context, *http.Response, error) (bool, error) { return false, nil },
	})
	if err != nil {
		return nil, err
	}
	// What the environment said is taken back.
	if err := client.SetAddress(address); err != nil {
		return nil, err
	}
	client.ClearToken()
	client.SetHeaders(http.Header{api.RequestHeaderName: {"true"}})
	if namespace != "" {
		client.SetNamespace(namespace)
	}
	return client, nil
}

// bounded refuses redirects and answers that are too long.
type bounded struct{ http.RoundTripper }

// redirectError says where a server sends its clients.
type redirectError struct{ status int }

func (e *redirectError) Error() string {
	return fmt.Sprintf("the server redirects (status %d), which is not followed: give the address of the active server", e.status)
}

var errTooLong = errors.New("the answer is longer than 1 MiB")

func (b bounded) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := b.RoundTripper.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode >= 300 && response.StatusCode < 400 {
		_ = response.Body.Close()
		return nil, &redirectError{response.StatusCode}
	}
	response.Body = &boundedBody{response.Body, maxBody}
	if response.StatusCode == http.StatusNotFound && request.Method == http.MethodGet {
		_ = response.Body.Close() // the library would take data from it
		response.Body = http.NoBody
	}
	return response, nil
}

// boundedBody fails where it is longer than left.
type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, errTooLong
	}
	return n, err
}

package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/creel-sandbox/creel/runner/image/unpack"
)

const (
	attempts = 4
	// stall is how long a registry may send nothing before it is tried again.
	stall = time.Minute
)

// errStalled is the cause of an attempt's end when nothing came any more.
var errStalled = errors.New("the registry sent nothing for a minute")

// permanent is an error that a repetition would not change.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// again repeats what failed in a way that may pass, a few times.
func (r *origin) again(ctx context.Context, try func(context.Context) error) error {
	wait := r.options.Retry
	if wait == 0 {
		wait = time.Second
	}
	for attempt := 1; ; attempt++ {
		err := try(ctx)
		if err == nil || ctx.Err() != nil || attempt == attempts || !passing(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
			wait *= 2
		}
	}
}

// passing says whether an error may be gone the next time.
func passing(err error) bool {
	var refused *transport.Error
	if errors.As(err, &refused) {
		return refused.Temporary()
	}
	var lasting permanent
	var limit *unpack.LimitError
	var certificate *tls.CertificateVerificationError
	return !errors.As(err, &lasting) && !errors.As(err, &limit) && !errors.As(err, &certificate)
}

// newTransport verifies TLS with the system's authorities (or SSL_CERT_FILE,
// crypto/x509), goes through the proxy of the environment, and speaks plain
// HTTP to this machine only.
func newTransport() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	t.ResponseHeaderTimeout = stall
	t.DisableCompression = true // a layer is compressed already
	return guarded{t}
}

type guarded struct{ next http.RoundTripper }

// RoundTrip is on the way of every request, those to token servers and those
// that a registry redirects to included. go-containerregistry itself would
// speak plain HTTP to every private address and to *.local.
func (g guarded) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Scheme != "https" && !isLoopback(request.URL.Hostname()) {
		return nil, permanent{fmt.Errorf("%s is not reached by HTTPS; plain HTTP is for this machine only", request.URL.Host)}
	}
	ctx, cancel := context.WithCancelCause(request.Context())
	timer := time.AfterFunc(stall, func() { cancel(errStalled) })
	response, err := g.next.RoundTrip(request.WithContext(ctx))
	if err != nil {
		timer.Stop()
		defer cancel(nil)
		return nil, cause(ctx, err)
	}
	response.Body = &watched{response.Body, ctx, cancel, timer}
	return response, nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// watched ends a body that stalls.
type watched struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	w.timer.Reset(stall)
	if err != nil && !errors.Is(err, io.EOF) {
		err = cause(w.ctx, err)
	}
	return n, err
}

func (w *watched) Close() error {
	w.timer.Stop()
	defer w.cancel(nil)
	return w.ReadCloser.Close()
}

// cause tells of a stall as such.
func cause(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errStalled) {
		return fmt.Errorf("%w: %w", errStalled, err)
	}
	return err
}

// IsUnauthorized says whether a registry wants other credentials, or hides
// what it does not show without them.
func IsUnauthorized(err error) bool {
	var refused *transport.Error
	if !errors.As(err, &refused) {
		return false
	}
	switch refused.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return true
	}
	return false
}

package network

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"golang.org/x/sys/unix"
)

// maxAnswer bounds, in bytes, what is read of an answer's head; nothing is read
// of its body.
const maxAnswer = 16 << 10

// Ask asks a service inside a sandbox for a path by HTTP, and returns nil for a
// status of 200 to 299. No answer makes it ask anywhere else: a redirection is
// a wrong status. The end of ctx ends it. The error is for a log, so it repeats
// nothing of an answer but its status: a service may answer with its secrets.
func (in Inside) Ask(ctx context.Context, path string) error {
	transport := &http.Transport{
		DialContext:            in.dialHTTP,
		Proxy:                  nil,
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxAnswer,
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", in.Port, path), http.NoBody)
	if err != nil {
		return fmt.Errorf("ask for %s: %w", path, err)
	}
	request.Header.Set("User-Agent", "creeld")
	answer, err := transport.RoundTrip(request)
	var undialled *dialError
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return fmt.Errorf("ask for %s: %w", path, context.Cause(ctx))
	case errors.As(err, &undialled):
		return fmt.Errorf("ask for %s: %w", path, undialled.error)
	case errors.Is(err, io.EOF), errors.Is(err, unix.ECONNRESET):
		return fmt.Errorf("ask for %s: the connection ended without an answer", path)
	default:
		return fmt.Errorf("ask for %s: what came is no answer in HTTP", path)
	}
	defer answer.Body.Close()
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return fmt.Errorf("ask for %s: status %d", path, answer.StatusCode)
	}
	return nil
}

// dialError is of this package's making, and repeats nothing that came.
type dialError struct{ error }

func (in Inside) dialHTTP(ctx context.Context, _, _ string) (net.Conn, error) {
	conn, err := in.Dial(ctx)
	if err != nil {
		return nil, &dialError{err}
	}
	return conn, nil
}

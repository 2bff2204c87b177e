package network

import (
	"context"
	"fmt"
	"net"
	"net/http"
)

// maxAnswer bounds, in bytes, what is read of an answer's head; nothing is read
// of its body.
const maxAnswer = 16 << 10

// Ask asks a service inside a sandbox for a path by HTTP, and returns nil for a
// status of 200 to 299. No answer makes it ask anywhere else: a redirection is
// a wrong status. The end of ctx ends it.
func (in Inside) Ask(ctx context.Context, path string) error {
	transport := &http.Transport{
		DialContext:            func(ctx context.Context, _, _ string) (net.Conn, error) { return in.Dial(ctx) },
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
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return fmt.Errorf("ask for %s: %w", path, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return fmt.Errorf("ask for %s: status %d", path, answer.StatusCode)
	}
	return nil
}

package fetch

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// silentAfter is a registry that sends some bytes, one a time, and then
// nothing.
type silentAfter struct {
	bytes int
	every time.Duration
	early bool // nothing at all, not even a header
}

func (s silentAfter) RoundTrip(q *http.Request) (*http.Response, error) {
	if s.early {
		<-q.Context().Done()
		return nil, q.Context().Err()
	}
	return &http.Response{StatusCode: http.StatusOK, Body: &slowBody{s, q.Context()}, Request: q}, nil
}

type slowBody struct {
	silentAfter
	ctx context.Context
}

func (b *slowBody) Read(p []byte) (int, error) {
	if b.bytes == 0 {
		<-b.ctx.Done()
		return 0, b.ctx.Err()
	}
	b.bytes--
	time.Sleep(b.every)
	return copy(p, "x"), nil
}

func (b *slowBody) Close() error { return nil }

// TestStalledRegistryIsGivenUp, and a slow one is not.
func TestStalledRegistryIsGivenUp(t *testing.T) {
	for _, c := range []struct {
		registry silentAfter
		read     int
		after    time.Duration
	}{
		{silentAfter{early: true}, 0, stall},
		{silentAfter{}, 0, stall},
		{silentAfter{bytes: 5, every: stall - time.Second}, 5, 5*(stall-time.Second) + stall},
	} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://registry.example.org/v2/", nil)
			check(t, err)
			response, err := guarded{c.registry}.RoundTrip(request)
			var data []byte
			if err == nil {
				data, err = io.ReadAll(response.Body)
				check(t, response.Body.Close())
			}
			if !errors.Is(err, errStalled) || !passing(err) || len(data) != c.read || time.Since(start) != c.after {
				t.Errorf("%+v: %q after %v, %v", c.registry, data, time.Since(start), err)
			}
		})
	}
}

// TestOnlyWhatMayPassIsTriedAgain waits twice as long each time, and not when
// the context has ended.
func TestOnlyWhatMayPassIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &origin{}
		for _, c := range []struct {
			err   error
			tries int
			wait  time.Duration
		}{
			{errors.New("connection reset"), attempts, 7 * time.Second},
			{permanent{errors.New("other bytes")}, 1, 0},
			{nil, 1, 0},
		} {
			start, tries := time.Now(), 0
			err := r.again(t.Context(), func(context.Context) error { tries++; return c.err })
			if !errors.Is(err, c.err) || tries != c.tries || time.Since(start) != c.wait {
				t.Errorf("%v: %d tries in %v: %v", c.err, tries, time.Since(start), err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		tries := 0
		err := r.again(ctx, func(context.Context) error { tries++; return errors.New("connection reset") })
		if tries != 1 || err == nil || !strings.Contains(err.Error(), "reset") {
			t.Errorf("%d tries after the end: %v", tries, err)
		}
	})
}

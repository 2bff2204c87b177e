package docker

import (
	"context"
	"errors"
	"fmt"
)

// UnavailableError says that the daemon did not answer.
type UnavailableError struct {
	Socket string
	Err    error
}

func (e *UnavailableError) Error() string {
	return fmt.Sprintf("the Docker daemon at %s: %v (is it running? systemctl status docker; dockerSocket in creel.yaml says where it listens)",
		e.Socket, e.Err)
}

func (e *UnavailableError) Unwrap() error { return e.Err }

// errTimeout is the cause of a call that took too long.
var errTimeout = errors.New("did not answer in time")

// call makes one call of the daemon, in bounded time.
func (e *Engine) call(ctx context.Context, what string, f func(context.Context) error) error {
	bound, cancel := context.WithTimeoutCause(ctx, e.cfg.Timeout, errTimeout)
	defer cancel()
	err := e.negotiate(bound)
	if err == nil {
		err = f(bound)
	}
	if err == nil {
		e.lost.answered()
		return nil
	}
	if answered(err) {
		return fmt.Errorf("%s: %w", what, err)
	}
	e.mu.Lock()
	e.daemon = nil // it may come back as another
	e.mu.Unlock()
	if cause := context.Cause(bound); cause != nil {
		err = cause
	}
	if ctx.Err() != nil && !errors.Is(err, errTimeout) {
		return fmt.Errorf("%s: %w", what, err) // the caller's own doing
	}
	return fmt.Errorf("%s: %w", what, &UnavailableError{e.cfg.Socket, err})
}

// negotiate settles the version of the API, once. The client would do it by
// itself, and race with its own reading of the version.
func (e *Engine) negotiate(ctx context.Context) error {
	if e.negotiated.Load() {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case e.negotiating <- struct{}{}:
		defer func() { <-e.negotiating }()
	}
	if e.negotiated.Load() {
		return nil
	}
	ping, err := e.api.Ping(ctx)
	if err != nil {
		return err
	}
	e.api.NegotiateAPIVersionPing(ping)
	e.negotiated.Store(true)
	return nil
}

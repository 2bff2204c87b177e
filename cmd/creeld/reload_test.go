package main

import (
	"context"
	"errors"
	"testing"

	"github.com/creel-sandbox/creel/runner/api"
)

// Whoever asks for a reload of a creeld that stops, or goes before it begins,
// is told so and does not wait for ever.
func TestReloadThatNobodyDoesIsRefused(t *testing.T) {
	gone, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the caller has gone")
	cancel(cause)
	d := &daemon{reloads: make(chan chan<- error), stopping: make(chan struct{})}
	if err := d.askReload(gone); !errors.Is(err, cause) {
		t.Errorf("by a caller that has gone: %v", err)
	}
	go func() { (<-d.reloads) <- nil }()
	if err := d.askReload(t.Context()); err != nil {
		t.Errorf("control: %v", err)
	}
	close(d.stopping)
	var refused *api.Error
	if err := d.askReload(t.Context()); !errors.As(err, &refused) || refused.Code != api.CodeClosing {
		t.Errorf("of one that stops: %v", err)
	}
}

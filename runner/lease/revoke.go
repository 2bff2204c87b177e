package lease

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// The tries to revoke one lease: how long one may take, and the waits between
// them, each twice as long as the one before.
const (
	tryTimeout = 30 * time.Second
	firstWait  = 100 * time.Millisecond
	lastWait   = 30 * time.Second
)

// clockSlack is how much later than here a lease may end by the provider's
// clock.
const clockSlack = time.Minute

// end begins to revoke a lease, or hurries what has begun.
func (b *Book) end(l *lease) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.closed:
		return // the next supervisor revokes it
	default:
	}
	if l.at != nil {
		select {
		case l.hurry <- struct{}{}:
		default:
		}
		return
	}
	l.at, l.state = make(chan struct{}), Revoking
	b.tries.Add(1)
	go b.revoke(l)
}

// revoke tries until the lease is gone: revoked, or ended by itself.
func (b *Book) revoke(l *lease) {
	defer b.tries.Done()
	for wait := firstWait; ; wait = min(2*wait, lastWait) {
		err := b.try(context.Background(), l)
		if err == nil {
			b.gone(l, Revoked)
			return
		}
		if l.surelyOver() {
			b.log.WithFields(fields(l.Entry)).WithError(err).Warn("a lease could not be revoked and has ended by itself")
			b.gone(l, Expired)
			return
		}
		b.mu.Lock()
		first := l.problem == ""
		l.problem = err.Error()
		b.mu.Unlock()
		if first {
			b.log.WithFields(fields(l.Entry)).WithError(err).Error("revoking a lease failed; it is tried again until the lease ends by itself")
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-l.hurry:
		case <-b.closed:
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

func (b *Book) try(ctx context.Context, l *lease) error {
	provider, ok := b.providers[l.Provider]
	if !ok {
		return fmt.Errorf("there is no provider %s here any more", l.Provider)
	}
	ctx, cancel := context.WithTimeout(ctx, tryTimeout)
	defer cancel()
	return provider.Revoke(ctx, l.Accessor)
}

// gone strikes a lease out.
func (b *Book) gone(l *lease, state string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l.state, l.problem = state, ""
	delete(b.leases, l)
	close(l.at)
	b.erase(l)
}

// Close waits, as long as ctx lasts, for what is being revoked, and then has the
// logins revoked. What is not by then stays written down for the next
// supervisor.
func (b *Book) Close(ctx context.Context) error {
	b.mu.Lock()
	pending := make([]*lease, 0, len(b.leases))
	for l := range b.leases {
		if l.at != nil {
			pending = append(pending, l)
		}
	}
	b.mu.Unlock()
	left := 0
	for _, l := range pending {
		select {
		case <-l.at:
		case <-ctx.Done():
			left++
		}
	}
	b.mu.Lock()
	close(b.closed)
	logins := slices.Clone(b.logins)
	b.mu.Unlock()
	b.tries.Wait()
	var errs []error
	if left > 0 {
		errs = append(errs, fmt.Errorf("%d leases are not revoked yet; the next start goes on with them", left))
	}
	for _, l := range logins { // the oldest first: the last is the one that all are revoked by
		if !l.surelyOver() {
			if err := b.try(ctx, l); err != nil {
				errs = append(errs, fmt.Errorf("revoke a login, which the next start does then: %w", err))
				continue
			}
		}
		b.strike(l)
	}
	return errors.Join(errs...)
}

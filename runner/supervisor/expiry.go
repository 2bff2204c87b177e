package supervisor

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/boottime"
	"github.com/creel-sandbox/creel/runner/credential"
)

// expiry is when the credentials of a command end by themselves: those without
// which it must not go on, and those of which the journal is told.
type expiry struct {
	ends, warns *boottime.Alarm
	// by are the moments of all, by their variables.
	by map[string]boottime.Instant
}

// newExpiry sets the alarms. The values are in the order of the policy's
// credentials.
func newExpiry(credentials []policy.Credential, values []credential.Resolved) (*expiry, error) {
	e := &expiry{by: map[string]boottime.Instant{}}
	var ends, warns boottime.Instant
	for i, value := range values {
		at := value.Lease.Ends
		if at == 0 {
			continue
		}
		e.by[value.Env] = at
		if credentials[i].OnExpiry == policy.OnExpiryWarn {
			warns = boottime.First(warns, at)
		} else {
			ends = boottime.First(ends, at)
		}
	}
	var endsErr, warnsErr error
	e.ends, endsErr = boottime.NewAlarm(ends)
	e.warns, warnsErr = boottime.NewAlarm(warns)
	if err := errors.Join(endsErr, warnsErr); err != nil {
		e.stop()
		return nil, fmt.Errorf("watch the end of credentials: %w", err)
	}
	return e, nil
}

// ended are the variables whose values have ended.
func (e *expiry) ended() string {
	var names []string
	for name, at := range e.by {
		if at.Over() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func (e *expiry) stop() {
	e.ends.Stop()
	e.warns.Stop()
}

// expiries are the channels of a command's alarms; nil without credentials.
func (inv *invocation) expiries() (ends, warns <-chan struct{}) {
	if inv.expiry == nil {
		return nil, nil
	}
	return inv.expiry.ends.C, inv.expiry.warns.C
}

// tellExpired tells the journal that a command has outlived credentials.
func (s *Supervisor) tellExpired(inv *invocation, becomes string) {
	s.logOf(inv).WithField("variables", inv.expiry.ended()).
		Warn("a command has outlived its credentials, and " + becomes)
}

package supervisor

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/boottime"
	"github.com/creel-sandbox/creel/runner/credential"
)

// lessor is a vault whose every value is another one, and lives for as long as
// its reference says.
type lessor struct {
	mu      sync.Mutex
	made    int
	revoked []string
}

func (l *lessor) Fetch(_ context.Context, ask credential.Ask) (credential.Grant, error) {
	life, err := time.ParseDuration(strings.TrimSuffix(ask.Reference, "#token"))
	if err != nil {
		return credential.Grant{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.made++
	return credential.Grant{
		Secret: credential.NewSecret(fmt.Appendf(nil, "value-%08d", l.made)),
		Lease:  credential.Lease{Accessor: fmt.Sprint(l.made), Ends: boottime.Now().Add(life)},
	}, nil
}

func (l *lessor) Revoke(_ context.Context, accessor string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.revoked = append(l.revoked, accessor)
	return nil
}

// left are how many values are not revoked.
func (l *lessor) left() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.made - len(slices.Compact(slices.Sorted(slices.Values(l.revoked))))
}

func TestCommandIsEndedWithItsCredential(t *testing.T) {
	l := &lessor{}
	r := newRig(t, options{provider: l, policy: "credentials:\n" +
		"  - {env: LONG, from: 'vault:1h#token'}\n  - {env: SHORT, from: 'vault:2s#token'}"})
	began := time.Now()
	c := r.run("echo begun; sleep 1000")
	if c.err != nil || c.result.Reason != api.ReasonExpired || c.result.ExitCode != 137 || c.stdout.String() != "begun\n" {
		t.Errorf("%+v, %v, %q", c.result, c.err, c.stdout.String())
	}
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("it was ended after %v, when its credential was valid", took)
	}
	if log := r.log.String(); !strings.Contains(log, `a command has outlived its credentials, and is ended`) || !strings.Contains(log, "variables=SHORT") {
		t.Errorf("the journal:\n%s", log)
	}
	reply, err := r.Ps(t.Context(), true)
	check(t, err)
	if row := reply.Sandboxes[0]; row.Result.Reason != api.ReasonExpired {
		t.Errorf("ps -a: %+v", row)
	}
	r.eventually("both are revoked", func() bool { return l.left() == 0 })
	if c := r.run(`[ "$SHORT" ] && [ "$LONG" ]`); c.err != nil || c.result.ExitCode != 0 {
		t.Errorf("control, a command that is short: %+v, %v", c.result, c.err)
	}
}

func TestCommandGoesOnWithoutItsCredentialWhereThePolicySaysSo(t *testing.T) {
	l := &lessor{}
	r := newRig(t, options{provider: l, policy: "credentials: [{env: SHORT, from: 'vault:100ms#token', onExpiry: warn}]"})
	c := r.start(shell("while [ ! -e enough ]; do sleep 0.02; done"), "")
	id := r.started(c)
	r.eventually("the journal is told", func() bool {
		return strings.Contains(r.log.String(), "a command has outlived its credentials, and goes on without them")
	})
	reply, err := r.Inspect(t.Context(), id)
	check(t, err)
	if row := reply.Sandbox; row.State != "running" || row.Leases[0].State != "expired" || !slices.Contains(row.Weaker, "credentials.onExpiry: warn") {
		t.Errorf("inspect: %+v", row)
	}
	check(t, os.WriteFile(r.workspace+"/enough", nil, 0o644))
	<-c.done
	if c.err != nil || c.result.Reason != api.ReasonExited || c.result.ExitCode != 0 {
		t.Errorf("%+v, %v", c.result, c.err)
	}
	if n := strings.Count(r.log.String(), "outlived"); n != 1 {
		t.Errorf("the journal is told %d times", n)
	}
}

// TestAlarmsEndWithTheirCommand counts the timers that are open.
func TestAlarmsEndWithTheirCommand(t *testing.T) {
	r := newRig(t, options{provider: &lessor{}, policy: "credentials:\n" +
		"  - {env: A, from: 'vault:1h#token'}\n  - {env: B, from: 'vault:1h#token', onExpiry: warn}"})
	c := r.start(shell("while [ ! -e enough ]; do sleep 0.02; done"), "")
	r.started(c)
	if n := timers(t); n != 2 {
		t.Errorf("control: %d alarms are set for a command with two kinds of credentials", n)
	}
	check(t, os.WriteFile(r.workspace+"/enough", nil, 0o644))
	<-c.done
	r.settle()
	if n := timers(t); n != 0 {
		t.Errorf("%d alarms are left", n)
	}
}

// timers are the descriptors of timerfd_create(2) that this process has.
func timers(t *testing.T) (n int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	for _, entry := range entries {
		if name, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil && strings.Contains(name, "[timerfd]") {
			n++
		}
	}
	return n
}

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/credential"
	"github.com/creel-sandbox/creel/runner/lease"
)

// ahead2 has two sandboxes wait, each with a value that lives for so long.
func ahead2(life string) string {
	return pooled + "\ncredentials:\n  - {env: A, from: 'vault:" + life + "#token', ttl: 1h, prefetch: true}\n"
}

// minted waits until the vault has made so many values.
func (r *rig) minted(l *lessor, n int) {
	r.t.Helper()
	r.eventually(fmt.Sprintf("%d values are made", n), func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.made >= n
	})
}

// ready waits until values wait for n commands, and gives their leases.
func (r *rig) ready(n int) []api.Lease {
	r.t.Helper()
	var leases []api.Lease
	r.eventually(fmt.Sprintf("values wait for %d commands", n), func() bool {
		leases = nil
		reply, err := r.Ps(r.t.Context(), false)
		check(r.t, err)
		for _, row := range reply.Sandboxes {
			for _, l := range row.Leases {
				if row.State == stateWarm && l.State == lease.Live && l.Sandbox == row.ID {
					leases = append(leases, l)
				}
			}
		}
		return len(leases) == n
	})
	return leases
}

// given runs a command and tells which value it got.
func (r *rig) given() int {
	r.t.Helper()
	c := r.run(`printf %s "$A" >/workspace/value`)
	if c.err != nil || c.result.ExitCode != 0 {
		r.t.Fatalf("%+v, %v", c.result, c.err)
	}
	value, err := os.ReadFile(r.workspace + "/value")
	check(r.t, err)
	n, err := strconv.Atoi(strings.TrimPrefix(string(value), "value-"))
	check(r.t, err)
	return n
}

func TestPrefetchedValueIsGivenToOneCommand(t *testing.T) {
	l := &lessor{}
	r := newRig(t, options{provider: l, policy: ahead2("1h")})
	seen := map[int]bool{}
	for range 8 {
		r.stocked(2)
		r.ready(2)
		l.mu.Lock()
		made := l.made
		l.mu.Unlock()
		got := r.given()
		if seen[got] || got > made {
			t.Errorf("a command got value %d, when %d were made before it and others had %v", got, made, seen)
		}
		seen[got] = true
		r.eventually("no more are valid than wait", func() bool { return l.left() <= 2 })
	}
	check(t, r.Close())
	r.eventually("all are revoked", func() bool { return l.left() == 0 })
}

func TestWhatWaitsIsBoundedAndMadeAgainAsItGrowsOld(t *testing.T) {
	l := &lessor{}
	r := newRig(t, options{provider: l, policy: ahead2("2s")}) // fresh for 500 ms
	for n := 2; n < 12; n++ {
		r.minted(l, n)
		if left := l.left(); left > 4 { // two may be on their way to be revoked
			t.Fatalf("%d values are valid", left)
		}
	}
	l.mu.Lock()
	made := l.made // before the command: more are made while that runs
	l.mu.Unlock()
	if got := r.given(); got < made-4 {
		t.Errorf("a command got value %d of %d", got, made)
	}
	check(t, r.Close())
	r.eventually("all are revoked", func() bool { return l.left() == 0 })
}

// TestPoolThatGrowsKeepsNoMoreAhead than the policy says wait.
func TestPoolThatGrowsKeepsNoMoreAhead(t *testing.T) {
	l := &lessor{}
	r := newRig(t, options{provider: l, policy: ahead2("1h")})
	r.stocked(2)
	var calls []*call
	for range 6 {
		calls = append(calls, r.start(shell("true"), ""))
	}
	for _, c := range calls {
		<-c.done
	}
	r.settle()
	r.eventually("the pool has grown", func() bool { return len(r.warmIDs()) > 2 })
	r.ready(2)
	r.eventually("all others are revoked", func() bool { return l.left() == 2 })
	check(t, r.Close())
	r.eventually("all are revoked", func() bool { return l.left() == 0 })
}

// TestOldValueIsNotGivenToACommand has one be there that nobody has spoiled.
func TestOldValueIsNotGivenToACommand(t *testing.T) {
	l := &lessor{}
	r := newRig(t, options{provider: l, policy: "credentials: [{env: A, from: 'vault:1h#token', ttl: 1h}]"})
	of, _ := r.declared.Load().Policies.Get("exec-default")
	of.Credentials[0].Prefetch = true
	for name, c := range map[string]struct {
		spoil func(*ahead)
		given bool
	}{
		"fresh":   {func(*ahead) {}, true},
		"old":     {func(a *ahead) { a.fresh = 1 }, false},
		"revoked": {func(a *ahead) { r.cfg.Leases.Revoke(t.Context(), func(lease.Entry) bool { return true }) }, false},
	} {
		w, err := r.vacancy(of)
		check(t, err)
		made, err := r.mint(t.Context(), w)
		check(t, err)
		c.spoil(made)
		p := &prefetch{cancel: func() {}}
		p.put(made)
		if got := p.take(); (got != nil) != c.given {
			t.Errorf("%s: given %v, want %v", name, got != nil, c.given)
		} else if got != nil {
			got.drop()
		}
		if p.take() != nil {
			t.Errorf("%s: it is given twice", name)
		}
		r.discard(w)
		r.eventually(name+": revoked", func() bool { return l.left() == 0 })
	}
}

func TestWhatWaitsIsRevokedWithItsSandbox(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *rig){
		"the sandbox is killed": func(t *testing.T, r *rig) {
			_, err := r.Kill(t.Context(), &api.KillRequest{All: true, Signal: 9})
			check(t, err)
		},
		"the policies are read again": func(t *testing.T, r *rig) { check(t, r.Reload()) },
		"an operator revokes it": func(t *testing.T, r *rig) {
			_, err := r.RevokeCredentials(t.Context(), &api.RevokeRequest{Policy: "exec-default"})
			check(t, err)
			if got := r.given(); got <= 2 {
				t.Errorf("a command got value %d, which was revoked", got)
			}
		},
		"the supervisor stops": func(t *testing.T, r *rig) { check(t, r.Close()) },
	} {
		t.Run(name, func(t *testing.T) {
			l := &lessor{}
			r := newRig(t, options{provider: l, policy: ahead2("1h")})
			r.stocked(2)
			r.ready(2)
			end(t, r)
			r.eventually("the first two are revoked", func() bool {
				l.mu.Lock()
				defer l.mu.Unlock()
				return slices.Contains(l.revoked, "1") && slices.Contains(l.revoked, "2")
			})
		})
	}
}

// moody is a vault that says what it is told to, and gives no lease or fails.
type moody struct {
	lessor
	unleased, down bool
}

func (m *moody) Fetch(ctx context.Context, ask credential.Ask) (credential.Grant, error) {
	m.mu.Lock()
	unleased, down := m.unleased, m.down
	m.mu.Unlock()
	if down {
		return credential.Grant{}, errors.New("it is down")
	}
	grant, err := m.lessor.Fetch(ctx, ask)
	if unleased {
		grant.Lease = credential.Lease{}
	}
	return grant, err
}

func TestValueWithoutALeaseIsNotKeptAhead(t *testing.T) {
	m := &moody{unleased: true}
	r := newRig(t, options{provider: m, policy: ahead2("1h")})
	r.stocked(2)
	r.eventually("the journal is told", func() bool {
		return strings.Contains(r.log.String(), "the vault gave a value without a lease, which is not kept ahead of a command")
	})
	r.ready(0)
	if got := r.given(); got <= 1 {
		t.Errorf("a command got value %d, want one of its own", got)
	}
}

func TestVaultThatIsDownKeepsNoSandboxFromWaiting(t *testing.T) {
	m := &moody{down: true}
	r := newRig(t, options{provider: m, policy: ahead2("1h")})
	r.stocked(2)
	r.eventually("the journal is told", func() bool { return strings.Contains(r.log.String(), "prefetching credentials failed") })
	if c := r.run("true"); asAPI(t, c.err).Code != "credential" {
		t.Errorf("a command while it is down: %v", c.err)
	}
	m.mu.Lock()
	m.down = false
	m.mu.Unlock()
	r.ready(2)
}

package main

import (
	"testing"
	"time"

	"github.com/creel-sandbox/creel/runner/api"
)

func TestAgesAndSizesReadAsPeopleSayThem(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "less than a second", 0: "less than a second", time.Second: "1 second",
		59 * time.Second: "59 seconds", 90 * time.Minute: "1 hour", 47 * time.Hour: "1 day", 30 * 24 * time.Hour: "4 weeks",
	} {
		if got := age(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0B", 1023: "1023B", 1024: "1KiB", 3 << 20: "3MiB", 1536 << 20: "1.5GiB", 5 << 50: "5120TiB"} {
		if got := size(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}

func TestLeasesAreCountedByStateWithTheTimeOfTheFirstToEnd(t *testing.T) {
	now := time.Now()
	after := func(state string, d time.Duration) api.Lease { return api.Lease{State: state, Expires: now.Add(d)} }
	for _, c := range []struct {
		leases []api.Lease
		want   string
	}{
		{nil, ""},
		{[]api.Lease{{State: "live"}}, "1 live"}, // nobody knows when it ends
		{[]api.Lease{after("live", time.Hour), after("live", 5*time.Minute), {State: "live"}}, "3 live (5 minutes left)"},
		{[]api.Lease{after("expired", -time.Hour), after("live", time.Minute)}, "1 expired, 1 live (1 minute left)"},
		{[]api.Lease{after("revoked", time.Hour), after("revoking", time.Hour)}, "1 revoked, 1 revoking (1 hour left)"},
	} {
		if got := leaseStates(c.leases, now); got != c.want {
			t.Errorf("%+v are %q, want %q", c.leases, got, c.want)
		}
	}
}

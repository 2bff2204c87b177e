package credential

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/credential/locked"
)

// fake answers from a table, or blocks for the reference "stuck".
type fake struct {
	mu      sync.Mutex
	values  map[string]string
	given   []Secret
	release chan struct{}
}

var errFake = errors.New("out of order")

func (f *fake) Fetch(_ context.Context, ask Ask) (Grant, error) {
	reference := ask.Reference
	if reference == "stuck" {
		<-f.release // a provider that does not heed its context
	}
	value, ok := f.values[reference]
	if !ok {
		return Grant{}, errFake
	}
	secret := NewSecret([]byte(value))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.given = append(f.given, secret)
	return Grant{Secret: secret}, nil
}

// destroyed says that n secrets were given out and all are wiped.
func (f *fake) destroyed(n int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, secret := range f.given {
		if secret.Len() != 0 {
			return false
		}
	}
	return len(f.given) == n
}

func newFake() *fake {
	return &fake{
		values:  map[string]string{"one": "first value", "two": "second value", "stuck": "too late a value", "short": "1234567"},
		release: make(chan struct{}),
	}
}

func from(env, provider, reference string) policy.Credential {
	return policy.Credential{Env: env, Provider: provider, Reference: reference}
}

func TestCredentialsAreResolvedInOrder(t *testing.T) {
	r := New(map[string]Provider{"fake": newFake()})
	resolved, err := r.Resolve(t.Context(), []policy.Credential{from("TWO", "fake", "two"), from("ONE", "fake", "one")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(resolved) != 2 || resolved[0].Env != "TWO" || string(resolved[0].Secret.Reveal()) != "second value" ||
		resolved[1].Env != "ONE" || string(resolved[1].Secret.Reveal()) != "first value" {
		t.Errorf("resolved %+v", resolved)
	}
	DestroyAll(resolved)
	if resolved[0].Secret.Len()+resolved[1].Secret.Len() != 0 {
		t.Error("DestroyAll left a value")
	}
	if resolved, err := r.Resolve(t.Context(), nil, nil); err != nil || len(resolved) != 0 {
		t.Errorf("none: %v, %v", resolved, err)
	}
}

func TestOneFailureRefusesAllAndDestroysAll(t *testing.T) {
	for _, test := range []struct {
		name string
		bad  policy.Credential
		want []string
	}{
		{"provider fails", from("BAD", "fake", "missing"), []string{"BAD", "fake:missing", errFake.Error()}},
		{"vault", from("BAD", "vault", "kv/github#token"), []string{"BAD", "vault:kv/github#token", "no such provider here"}},
		{"value too short", from("BAD", "fake", "short"), []string{"BAD", "fake:short", "7 bytes"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := newFake()
			r := New(map[string]Provider{"fake": f})
			resolved, err := r.Resolve(t.Context(), []policy.Credential{from("ONE", "fake", "one"), test.bad, from("TWO", "fake", "two")}, nil)
			if err == nil || resolved != nil {
				t.Fatalf("resolved %v, %v", resolved, err)
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
			if strings.Contains(err.Error(), "ONE") || strings.Contains(err.Error(), "value\x20") || strings.Contains(err.Error(), "1234567") {
				t.Errorf("the error says too much: %v", err)
			}
			for _, secret := range f.given {
				if secret.Len() != 0 {
					t.Error("a value was not destroyed")
				}
			}
		})
	}
	f := newFake()
	_, err := New(map[string]Provider{"fake": f}).Resolve(t.Context(), []policy.Credential{from("X", "fake", "x"), from("Y", "nope", "y")}, nil)
	if err == nil || !errors.Is(err, errFake) || !errors.Is(err, ErrNoProvider) {
		t.Errorf("not all failures are reported: %v", err)
	}
}

func TestResolveDoesNotWaitForAStuckProvider(t *testing.T) {
	for _, how := range []string{"time limit", "caller gone"} {
		f := newFake()
		r := New(map[string]Provider{"fake": f})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if how == "time limit" {
			r.timeout = 20 * time.Millisecond
		} else {
			time.AfterFunc(20*time.Millisecond, cancel)
		}
		_, err := r.Resolve(ctx, []policy.Credential{from("ONE", "fake", "one"), from("LATE", "fake", "stuck")}, nil)
		if err == nil || !strings.Contains(err.Error(), "LATE from fake:stuck") || !errors.Is(err, errNoAnswer) {
			t.Fatalf("%s: %v", how, err)
		}
		close(f.release)
		// What comes too late is destroyed as well.
		deadline := time.Now().Add(20 * time.Second)
		for !f.destroyed(2) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: the late value was not destroyed", how)
			}
			time.Sleep(time.Millisecond)
		}
	}
}

func TestValuesThatCannotBeDeliveredAreRefused(t *testing.T) {
	for _, test := range []struct{ name, raw, value, want string }{
		{"plain", "12345678", "12345678", ""},
		{"one newline is the line's end", "12345678\n", "12345678", ""},
		{"a second one is the value's", "12345678\n\n", "12345678\n", ""},
		{"a carriage return is the value's", "12345678\r\n", "12345678\r", ""},
		{"not UTF-8", "\xff\xfe345678", "\xff\xfe345678", ""},
		{"longest", strings.Repeat("x", MaxValue) + "\n", strings.Repeat("x", MaxValue), ""},
		{"empty", "", "", "empty"},
		{"only a line's end", "\n", "", "empty"},
		{"short", "1234567", "", "7 bytes"},
		{"short without its newline", "1234567\n", "", "7 bytes"},
		{"too long", strings.Repeat("x", MaxValue+1), "", "more than 65536"},
		{"NUL", "1234\x005678", "", "NUL"},
		{"white space", " \t\n \t\n \t\n ", "", "white space"},
	} {
		before := locked.InUse()
		raw, err := locked.Copy([]byte(test.raw))
		noError(t, err)
		memory := raw.Bytes()
		secret, err := newValue(raw)
		if test.want == "" {
			if err != nil || string(secret.Reveal()) != test.value {
				t.Errorf("%s: %d bytes, %v", test.name, secret.Len(), err)
			}
			secret.Destroy()
			continue
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
		if len(memory) <= MaxValue && strings.Trim(string(memory), "\x00") != "" { // longer ones have no memory any more
			t.Errorf("%s: the refused value was not wiped", test.name)
		}
		if got := locked.InUse(); got != before {
			t.Errorf("%s: %d bytes in use, want %d", test.name, got, before)
		}
	}
}

// leasing makes a lease with each value.
type leasing struct{ fake }

func (l *leasing) Fetch(ctx context.Context, ask Ask) (Grant, error) {
	grant, err := l.fake.Fetch(ctx, ask)
	grant.Lease.Accessor = "of " + ask.Reference
	return grant, err
}

func TestEveryLeaseIsKeptAlsoOfValuesThatAreRefused(t *testing.T) {
	provider := &leasing{fake{values: newFake().values, release: make(chan struct{})}}
	r := New(map[string]Provider{"fake": provider})
	r.timeout = time.Second // in which the others answer, however slow the machine
	kept := make(chan string, 4)
	keep := func(_ policy.Credential, lease Lease) error {
		kept <- lease.Accessor
		return nil
	}
	_, err := r.Resolve(t.Context(), []policy.Credential{from("A", "fake", "one"), from("B", "fake", "short"), from("C", "fake", "stuck")}, keep)
	if err == nil || !strings.Contains(err.Error(), "7 bytes") {
		t.Fatal(err)
	}
	close(provider.release) // this one answers when nobody waits
	got := []string{<-kept, <-kept, <-kept}
	slices.Sort(got)
	if want := []string{"of one", "of short", "of stuck"}; !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
	refuse := func(policy.Credential, Lease) error { return errFake }
	if got, err := r.Resolve(t.Context(), []policy.Credential{from("A", "fake", "one")}, refuse); !errors.Is(err, errFake) || got != nil {
		t.Errorf("a lease that nobody keeps: %v, %v", got, err)
	}
}

// bundling answers each question with values that show which question it was.
type bundling struct {
	leasing
	asked int
}

func (b *bundling) FetchFields(_ context.Context, path string, fields []string, ttl time.Duration) ([]Secret, Lease, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked++
	var secrets []Secret
	for _, field := range fields {
		secrets = append(secrets, NewSecret(fmt.Appendf(nil, "%s of %s within %s", field, path, ttl)))
	}
	return secrets, Lease{Accessor: path}, nil
}

func TestFieldsOfOnePathAreAskedForAtOnceAndTheSameFieldAnew(t *testing.T) {
	b := &bundling{leasing: leasing{fake{values: map[string]string{"db#user": "another user"}}}}
	r := New(map[string]Provider{"fake": b, "plain": newFake()})
	var kept atomic.Int64
	keep := func(policy.Credential, Lease) error { kept.Add(1); return nil }
	credentials := []policy.Credential{from("U", "fake", "db#user"), from("ONE", "plain", "one"), from("P", "fake", "db#password"), from("V", "fake", "db#user")}
	credentials[2].TTL = time.Minute
	resolved, err := r.Resolve(t.Context(), credentials, keep)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"user of db within 1m0s", "first value", "password of db within 1m0s", "another user"} {
		if got := string(resolved[i].Secret.Reveal()); got != want {
			t.Errorf("%s is %q, want %q", resolved[i].Env, got, want)
		}
	}
	if b.asked != 1 || kept.Load() != 2 || resolved[0].Lease != resolved[2].Lease {
		t.Errorf("asked %d times, kept %d leases", b.asked, kept.Load())
	}
}

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/credential"
	"github.com/creel-sandbox/creel/runner/server"
)

// untouched is a provider that must not be asked.
type untouched struct{ asked int }

func (u *untouched) Fetch(context.Context, credential.Ask) (credential.Grant, error) {
	u.asked++
	return credential.Grant{}, errors.New("asked")
}

const someCanary = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567ABCDEFGHIJKLMNOPQRST"

func TestCanaryTakesThePlaceOfEveryCredentialAndOfNothingElse(t *testing.T) {
	provider := &untouched{}
	r := newRig(t, options{provider: provider, policy: "credentials: [{env: A, from: 'exec:/helper'}, {env: B, from: 'exec:/helper'}]\n" +
		`callers: {users: ["61234"]}` + "\nlogs: {keep: 1KiB}"})
	stdio, in, out, errs := pipes(t)
	defer in.Close()
	request := &api.CanaryRequest{ExecRequest: *shell(`printf %s "$A $B" >values; echo "<$A>"`), Canary: someCanary}
	id := ""
	result, err := r.ExecCanary(t.Context(), server.Peer{}, request, stdio, nil, func(started string) {
		id = started
		if row := r.row(id); !row.Canary {
			t.Errorf("ps does not tell that it runs with a canary: %+v", row)
		}
	})
	if err != nil || result.ExitCode != 0 {
		t.Fatalf("%+v, %v\n%s", result, err, r.log)
	}
	if printed, err := io.ReadAll(out); err != nil || string(printed) != "<[redacted:A]>\n" {
		t.Errorf("printed %q, %v", printed, err)
	}
	errs.Close()
	values, err := os.ReadFile(r.workspace + "/values")
	check(t, err)
	var want []string
	for _, name := range []string{"A", "B"} {
		copy := someCanary + "-" + name + "."
		if len(copy)%3 == 0 {
			t.Errorf("a copy of %d bytes has the canary in one alignment of base64 only", len(copy))
		}
		want = append(want, strings.Repeat(copy, 3))
	}
	if string(values) != strings.Join(want, " ") {
		t.Errorf("values %q, want %q", values, want)
	}
	if log := r.log.String(); provider.asked != 0 || !strings.Contains(log, "canaries in place") || strings.Contains(log, someCanary) {
		t.Errorf("the provider was asked %d times; the journal:\n%s", provider.asked, log)
	}
	// Whoever is no caller of the policy gets no credentials of it, root or not.
	if _, err := r.Exec(t.Context(), server.Peer{}, shell("true"), sink(t), nil, func(string) {}); err == nil {
		t.Error("root, who is no caller, runs a command with the real credentials")
	}
	r.settle()
}

func (r *rig) row(id string) api.Sandbox {
	reply, err := r.Ps(r.t.Context(), true)
	check(r.t, err)
	at := slices.IndexFunc(reply.Sandboxes, func(s api.Sandbox) bool { return s.ID == id })
	if at < 0 {
		return api.Sandbox{}
	}
	return reply.Sandboxes[at]
}

// sink is the stdio of a caller who reads nothing.
func sink(t *testing.T) server.Stdio {
	stdio, in, out, errs := pipes(t)
	t.Cleanup(func() { in.Close(); out.Close(); errs.Close() })
	return stdio
}

func TestPlacesAreThoseOfThePolicyInForce(t *testing.T) {
	s := admitting(t)
	got, err := s.Places(t.Context(), "exec-default")
	check(t, err)
	if got.Pid != os.Getpid() || got.Engine != "oci" || !slices.Equal(got.Variables, []string{"TOKEN"}) || !slices.Equal(got.Mounts, []string{"/srv/workspace"}) {
		t.Errorf("places %+v", got)
	}
	for _, dir := range []string{"/run/creel", "/var/lib/creel", "/var/log/creel", "/var/lib/creel/images"} {
		if !slices.Contains(got.Directories, dir) {
			t.Errorf("%s is not among %q", dir, got.Directories)
		}
	}
	for name, want := range map[string]string{"only-root": "has no credentials", "no-such": "there is no policy"} {
		if got, err := s.Places(t.Context(), name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if inv, err := s.admitCanary(server.Peer{}, &api.CanaryRequest{ExecRequest: api.ExecRequest{Policy: name}}, server.Stdio{}); err == nil {
			t.Errorf("%s: %s is admitted", name, fmt.Sprint(inv.id))
		}
	}
}

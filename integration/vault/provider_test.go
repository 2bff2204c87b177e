package vault

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/runner/boottime"
	"github.com/creel-sandbox/creel/runner/credential"
	"github.com/creel-sandbox/creel/runner/credential/vault"
)

// provider logs in to a server as a role that may do what creeld does.
func provider(t *testing.T, s *Server, change func(*vault.Config)) *vault.Provider {
	t.Helper()
	ids := s.Role("creeld", Policy)
	cfg := vault.Config{
		Address: s.Address, Login: "approle", Timeout: 10 * time.Second,
		Credential: func() (credential.Secret, error) { return credential.NewSecret([]byte(ids)), nil },
		LoggedIn:   func(credential.Lease) {},
		Late:       func(lease credential.Lease) { t.Errorf("a late lease: %v", lease) },
	}
	if change != nil {
		change(&cfg)
	}
	p, err := vault.New(cfg)
	check(t, err)
	return p
}

func fetch(t *testing.T, p *vault.Provider, reference string, ttl time.Duration) credential.Grant {
	t.Helper()
	grant, err := p.Fetch(t.Context(), credential.Ask{Reference: reference, TTL: ttl})
	if err != nil {
		t.Errorf("%s: %v", reference, err)
	}
	return grant
}

func TestValuesAreReadFromEitherVersionOfKV(t *testing.T) {
	s := Start(t, Options{})
	s.Do("POST", "kv1/team/github", map[string]any{"token": "value of version one", "number": 12345678, "short": "1234567"})
	s.Do("POST", "kv/data/team/github", map[string]any{"data": map[string]any{"token": "value of version two"}})
	s.Do("POST", "kv/data/gone", map[string]any{"data": map[string]any{"token": "value that is gone"}})
	s.Do("DELETE", "kv/data/gone", nil)
	p := provider(t, s, nil)
	// One that may not ask what is mounted where has to guess.
	blind := strings.Replace(Policy, `path "sys/internal/ui/mounts/*" { capabilities = ["read"] }`, `path "sys/internal/ui/mounts/*" { capabilities = ["deny"] }`, 1)
	ids := s.Role("blind", blind)
	guesser := provider(t, s, func(c *vault.Config) {
		c.Credential = func() (credential.Secret, error) { return credential.NewSecret([]byte(ids)), nil }
	})
	for name, p := range map[string]*vault.Provider{"told": p, "guesser": guesser} {
		for reference, want := range map[string]string{
			"kv1/team/github#token": "value of version one", "kv/team/github#token": "value of version two", "kv/data/team/github#token": "value of version two",
		} {
			if name == "guesser" && strings.Contains(reference, "/data/") {
				continue
			}
			if got := fetch(t, p, reference, 0); string(got.Secret.Reveal()) != want || got.Lease.Accessor != "" {
				t.Errorf("%s: %s: %q, %v", name, reference, got.Secret.Reveal(), got.Lease)
			}
		}
		for reference, want := range map[string]string{
			"kv1/team/github#number": "not text", "kv1/team/github#short": "7 bytes", "kv1/team/github#none": "none of this name",
			"kv/gone#token": "nothing", "kv/none#token": "nothing", "kv1/none#token": "nothing", "secret/x#token": "denies",
		} {
			got, err := p.Fetch(t.Context(), credential.Ask{Reference: reference})
			if err == nil || !strings.Contains(err.Error(), want) && name == "told" || got.Lease.Accessor != "" {
				t.Errorf("%s: %s: %v, %v, want %q", name, reference, got.Lease, err, want)
			}
			if err != nil && (strings.Contains(err.Error(), "12345678") || strings.Contains(err.Error(), "1234567")) {
				t.Errorf("%s: %s: the error holds the value: %v", name, reference, err)
			}
		}
	}
}

func TestTokenLastsNoLongerThanThePolicySaysAndIsRevoked(t *testing.T) {
	s := Start(t, Options{})
	s.Tokens("task")
	p := provider(t, s, nil)
	grant := fetch(t, p, "auth/token/create/task#token", 10*time.Minute)
	token := string(grant.Secret.Reveal())
	if left := grant.Lease.Ends.Until(); left > 10*time.Minute || left < 9*time.Minute {
		t.Errorf("it lasts %v", left)
	}
	var answer map[string]any
	if s.As(token, "GET", "auth/token/lookup-self", nil, &answer); answer["data"] == nil {
		t.Fatalf("the token does not work: %v", answer)
	}
	data := answer["data"].(map[string]any)
	if data["renewable"] != false || data["explicit_max_ttl"].(float64) != 600 || data["orphan"] != false {
		t.Errorf("the token is not as asked for: %v", data)
	}
	for range 2 { // one that is gone is no error
		if err := p.Revoke(t.Context(), grant.Lease.Accessor); err != nil {
			t.Error(err)
		}
		if s.Accepts(token) {
			t.Error("the token is still accepted")
		}
	}
}

// TestWhatIsMadeIsKnownToEndWithTheLogin that made it (Vault, "Token hierarchies
// and orphan tokens"), whatever the vault says of itself.
func TestWhatIsMadeIsKnownToEndWithTheLogin(t *testing.T) {
	s := Start(t, Options{})
	s.Tokens("task")
	p := provider(t, s, nil)
	s.Do("POST", "auth/approle/role/creeld", map[string]any{"token_ttl": "2s", "token_max_ttl": "2s"})
	grant := fetch(t, p, "auth/token/create/task#token", 0)
	if left := grant.Lease.Ends.Until(); grant.Lease.Ends == 0 || left > 2*time.Second {
		t.Errorf("a token of a login that lasts 2 s is thought to last %v", left)
	}
	token := string(grant.Secret.Reveal())
	if !s.Accepts(token) {
		t.Error("control: the token does not work")
	}
	alarm, err := boottime.NewAlarm(grant.Lease.Ends.Add(time.Second))
	check(t, err)
	defer alarm.Stop()
	<-alarm.C
	if s.Accepts(token) {
		t.Error("the token is accepted after its login has ended")
	}
}

func TestLoginThatEndedIsRepeatedAndOneThatIsRevokedToo(t *testing.T) {
	s := Start(t, Options{})
	s.Do("POST", "kv1/x", map[string]any{"token": "value of version one"})
	p := provider(t, s, nil)
	s.Do("POST", "auth/approle/role/creeld", map[string]any{"token_ttl": "2s", "token_max_ttl": "3s"})
	for range 5 {
		fetch(t, p, "kv1/x#token", 0)
		time.Sleep(time.Second) // not to synchronise: a login ends meanwhile
	}
	s.Do("POST", "auth/approle/role/creeld", map[string]any{"token_ttl": "1h", "token_max_ttl": "1h"})
	p = provider(t, s, nil)
	fetch(t, p, "kv1/x#token", 0)
	s.Do("POST", "sys/leases/revoke-prefix/auth/approle", nil)
	fetch(t, p, "kv1/x#token", 0)
}

func TestServiceTokenIsALoginToo(t *testing.T) {
	s := Start(t, Options{})
	s.Do("POST", "kv1/x", map[string]any{"token": "value of version one"})
	p := provider(t, s, func(c *vault.Config) {
		c.Credential = func() (credential.Secret, error) { return credential.NewSecret([]byte(s.Root + "\n")), nil }
	})
	fetch(t, p, "kv1/x#token", 0)
	s.Tokens("task")
	grant := fetch(t, p, "auth/token/create/task#token", time.Minute)
	check(t, p.Revoke(t.Context(), grant.Lease.Accessor))
	if !s.Accepts(s.Root) {
		t.Error("the service's token was revoked")
	}
}

func TestLateAnswerIsGivenToWhoeverRevokesIt(t *testing.T) {
	s := Start(t, Options{})
	s.Tokens("task")
	late := make(chan credential.Lease, 1)
	p := provider(t, s, func(c *vault.Config) {
		c.Timeout = time.Second
		c.Late = func(lease credential.Lease) { late <- lease }
	})
	fetch(t, p, "auth/token/create/task#token", time.Minute) // logs in, and learns what is mounted
	s.Pause(true)
	began := time.Now()
	_, err := p.Fetch(t.Context(), credential.Ask{Reference: "auth/token/create/task#token", TTL: time.Minute})
	took := time.Since(began)
	s.Pause(false)
	if err == nil || !strings.Contains(err.Error(), "no answer within 1s") || took > 5*time.Second {
		t.Errorf("after %v: %v", took, err)
	}
	select {
	case lease := <-late:
		check(t, p.Revoke(t.Context(), lease.Accessor))
	case <-time.After(20 * time.Second):
		t.Fatal("the lease was lost")
	}
	if n := s.Minted(); n != 1 {
		t.Errorf("%d tokens are valid, want the first alone", n)
	}
}

func TestSealedAndDownVaultIsNamed(t *testing.T) {
	s := Start(t, Options{})
	s.Do("POST", "kv1/x", map[string]any{"token": "value of version one"})
	p := provider(t, s, nil)
	fetch(t, p, "kv1/x#token", 0)
	s.Seal()
	if _, err := p.Fetch(t.Context(), credential.Ask{Reference: "kv1/x#token"}); err == nil || !strings.Contains(err.Error(), "sealed") {
		t.Errorf("sealed: %v", err)
	}
	check(t, s.command.Process.Kill())
	_, _ = s.command.Process.Wait()
	if _, err := p.Fetch(t.Context(), credential.Ask{Reference: "kv1/x#token"}); err == nil || !strings.Contains(err.Error(), "nothing listens") {
		t.Errorf("down: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Fetch(ctx, credential.Ask{Reference: "kv1/x#token"}); !errors.Is(err, context.Canceled) {
		t.Errorf("caller gone: %v", err)
	}
}

// TestRealServerIsReachedByTLS, by the certificate that creel.yaml names and
// no other.
func TestRealServerIsReachedByTLS(t *testing.T) {
	stand := httptest.NewTLSServer(nil) // its certificate is for 127.0.0.1
	defer stand.Close()
	dir := t.TempDir()
	key, err := x509.MarshalPKCS8PrivateKey(stand.TLS.Certificates[0].PrivateKey)
	check(t, err)
	for name, block := range map[string]*pem.Block{"cert": {Type: "CERTIFICATE", Bytes: stand.Certificate().Raw}, "key": {Type: "PRIVATE KEY", Bytes: key}} {
		check(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
	}
	s := Start(t, Options{Cert: dir + "/cert", Key: dir + "/key", Client: stand.Client()})
	s.Do("POST", "kv1/x", map[string]any{"token": "value of version one"})
	fetch(t, provider(t, s, func(c *vault.Config) { c.CAFile = dir + "/cert" }), "kv1/x#token", 0)
	_, err = provider(t, s, nil).Fetch(t.Context(), credential.Ask{Reference: "kv1/x#token"})
	if err == nil || !strings.Contains(err.Error(), "certificate cannot be trusted") {
		t.Errorf("a certificate that the host does not trust: %v", err)
	}
}

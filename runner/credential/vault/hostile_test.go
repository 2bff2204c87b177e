package vault

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/runner/credential"
)

const canary = "canary-value-0123456789"

// answers is a server whose login works and whose every other answer is given.
func answers(t *testing.T, rest http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(withLogin(rest))
	t.Cleanup(func() {
		_ = server.Listener.Close()     // no question comes after
		server.CloseClientConnections() // an answer that may hold a lease is waited for
		server.Close()
	})
	return server
}

func withLogin(rest http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or else the client's end would not be noticed
		switch {
		case r.URL.Path == "/v1/auth/approle/login":
			fmt.Fprint(w, `{"auth": {"client_token": "hvs.login", "accessor": "login", "lease_duration": 3600}}`)
		case r.URL.Path == "/v1/auth/token/lookup-self":
			fmt.Fprint(w, `{"data": {}}`)
		case strings.HasPrefix(r.URL.Path, "/v1/sys/internal/ui/mounts/engine"):
			fmt.Fprint(w, `{"data": {"path": "engine/", "type": "database"}}`)
		case strings.HasPrefix(r.URL.Path, "/v1/sys/internal/ui/mounts/"):
			fmt.Fprint(w, `{"data": {"path": "kv/", "type": "kv", "options": {"version": "1"}}}`)
		default:
			rest(w, r)
		}
	}
}

func provider(t *testing.T, change func(*Config)) *Provider {
	t.Helper()
	cfg := Config{
		Login: "approle", Timeout: 2 * time.Second,
		Credential: func() (credential.Secret, error) { return credential.NewSecret([]byte("role-id\nsecret-id")), nil },
		Late:       func(credential.Lease) {},
		LoggedIn:   func(credential.Lease) {},
	}
	change(&cfg)
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func replying(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	}
}

// TestWhateverAServerAnswersNoValueIsToldAndTimeIsBounded tries what a broken
// or hostile server, or something else at its address, can say.
func TestWhateverAServerAnswersNoValueIsToldAndTimeIsBounded(t *testing.T) {
	elsewhere := answers(t, func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") })
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"403":             {replying(403, `{"errors": ["permission denied"]}`), "denies it to creeld (status 403): permission denied"},
		"403 with values": {replying(403, `{"errors": ["`+canary+`"], "data": {"token": "`+canary+`"}}`), "denies it to creeld (status 403)"},
		"404":             {replying(404, `{"errors": []}`), "nothing at this path"},
		"404 with values": {replying(404, `{"data": {"token": "`+canary+`"}}`), "nothing at this path"},
		"500 in HTML":     {replying(500, "<html>"+canary), "status 500"},
		"502":             {replying(502, canary), "status 502"},
		"sealed":          {replying(503, `{"errors": ["Vault is sealed"]}`), "the vault is sealed"},
		"429":             {replying(429, `{"errors": ["`+canary+`"]}`), "status 429"},
		"garbage":         {replying(200, canary), "not that of a vault"},
		"half a JSON":     {replying(200, `{"data": {"token": "`+canary), "not that of a vault"},
		"another JSON":    {replying(200, `["`+canary+`"]`), "not that of a vault"},
		"no data":         {replying(200, `{"data": null}`), "none of this name"},
		"nothing":         {replying(204, ""), "nothing at this path"},
		"a number":        {replying(200, `{"data": {"token": 1234567890123}}`), "not text"},
		"an object":       {replying(200, `{"data": {"token": {"a": "`+canary+`"}}}`), "not text"},
		"short":           {replying(200, `{"data": {"token": "1234567"}}`), "7 bytes"},
		"long":            {replying(200, `{"data": {"token": "`+strings.Repeat("x", credential.MaxValue+1)+`"}}`), "more than 65536 bytes"},
		"NUL":             {replying(200, `{"data": {"token": "`+canary+`\u0000"}}`), "NUL"},
		"huge": {func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, `{"data": {"token": "`)
			for range 64 {
				fmt.Fprint(w, strings.Repeat(canary[:16], 4<<10))
			}
			fmt.Fprint(w, `"}}`)
		}, "longer than 1 MiB"},
		"endless header": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("x", 1<<20))
			fmt.Fprint(w, `{"data": {"token": "`+canary+`"}}`)
		}, "not that of a vault"},
		"slow": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "no answer within 300ms"},
		"drip": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				fmt.Fprint(w, " ")
				w.(http.Flusher).Flush()
				time.Sleep(20 * time.Millisecond)
			}
		}, "no answer within 300ms"},
		"hang up": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "not that of a vault"},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}, "redirects (status 307)"},
	} {
		for _, at := range []string{"kv/x#token", "engine/creds/x#token", "auth/token/create/x#none"} {
			t.Run(name+" at "+at, func(t *testing.T) {
				server := answers(t, c.answer)
				p := provider(t, func(cfg *Config) {
					cfg.Address = server.URL
					if strings.Contains(c.want, "300ms") {
						cfg.Timeout = 300 * time.Millisecond
					}
				})
				began := time.Now()
				grant, err := p.Fetch(t.Context(), credential.Ask{Reference: at})
				if err == nil || grant.Secret.Len() != 0 {
					t.Fatalf("fetched %d bytes", grant.Secret.Len())
				}
				if !strings.Contains(err.Error(), c.want) && !strings.HasSuffix(at, "#none") {
					t.Errorf("%v, want %q", err, c.want)
				}
				if strings.Contains(err.Error(), canary[:8]) || strings.Contains(err.Error(), "hvs.") || strings.Contains(err.Error(), "1234567890123") {
					t.Errorf("the error tells too much: %.200v", err)
				}
				if took := time.Since(began); took > 10*time.Second {
					t.Errorf("it took %v", took)
				}
			})
		}
	}
}

// TestLeaseComesWithTheErrorWhereItsValueIsRefused, so that it is revoked.
func TestLeaseComesWithTheErrorWhereItsValueIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ data, renewed, want string }{
		"no field":           {`{"other": "` + canary + `"}`, `{"lease_duration": 60}`, "none of this name"},
		"short":              {`{"token": "1234567"}`, `{"lease_duration": 60}`, "7 bytes"},
		"it is not shorter":  {`{"token": "` + canary + `"}`, `{"lease_duration": 3600}`, "longer than the policy's ttl"},
		"it cannot be short": {`{"token": "` + canary + `"}`, ``, "shorten the lease"},
		"more than a Duration holds, it seems 290 ms": {`{"token": "` + canary + `"}`, `{"lease_duration": 18446744074}`, "longer than the policy's ttl"},
		"more than a Duration holds, from the start":  {`{"token": "` + canary + `"}`, ``, "shorten the lease"},
		"fine": {`{"token": "` + canary + `"}`, `{"lease_duration": 60}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			given := "3600"
			if strings.Contains(name, "start") {
				given = "18446744074"
			}
			server := answers(t, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.URL.Path != "/v1/sys/leases/renew":
					fmt.Fprint(w, `{"lease_id": "engine/creds/x/one", "lease_duration": `+given+`, "renewable": true, "data": `+c.data+`}`)
				case c.renewed == "":
					replying(403, `{"errors": ["permission denied"]}`)(w, r)
				default:
					fmt.Fprint(w, c.renewed)
				}
			})
			p := provider(t, func(cfg *Config) { cfg.Address = server.URL })
			grant, err := p.Fetch(t.Context(), credential.Ask{Reference: "engine/creds/x#token", TTL: time.Minute})
			if grant.Lease.Accessor != "lease/engine/creds/x/one" {
				t.Errorf("the lease is lost: %v", grant.Lease)
			}
			if c.want == "" && (err != nil || string(grant.Secret.Reveal()) != canary || grant.Lease.Ends.Until() > time.Minute) {
				t.Errorf("%v, %v", grant.Lease, err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// TestWhatMakesSomethingIsNotRepeated counts the requests.
func TestWhatMakesSomethingIsNotRepeated(t *testing.T) {
	for at, want := range map[string]int64{"kv/x#token": 3, "engine/creds/x#token": 1, "auth/token/create/x#token": 1} {
		var asked atomic.Int64
		server := answers(t, func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			replying(500, "")(w, r)
		})
		p := provider(t, func(cfg *Config) { cfg.Address = server.URL })
		if _, err := p.Fetch(t.Context(), credential.Ask{Reference: at}); err == nil {
			t.Error("fetched")
		}
		if asked.Load() != want {
			t.Errorf("%s: asked %d times, want %d", at, asked.Load(), want)
		}
	}
}

// TestEnvironmentSendsNothingElsewhere has variables that Vault's own client
// and Go's would heed.
func TestEnvironmentSendsNothingElsewhere(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the environment was heeded") }))
	defer elsewhere.Close()
	for _, name := range []string{"VAULT_ADDR", "VAULT_AGENT_ADDR", "VAULT_PROXY_ADDR", "HTTP_PROXY", "http_proxy"} {
		t.Setenv(name, elsewhere.URL)
	}
	t.Setenv("VAULT_TOKEN", "hvs.wrong")
	t.Setenv("VAULT_NAMESPACE", "wrong")
	t.Setenv("VAULT_HEADERS", `{"X-Wrong": "wrong"}`)
	server := answers(t, func(w http.ResponseWriter, r *http.Request) {
		if token, ns := r.Header.Get("X-Vault-Token"), r.Header.Get("X-Vault-Namespace"); token != "hvs.login" || ns != "team" || r.Header.Get("X-Wrong") != "" {
			t.Errorf("token %q, namespace %q, %v", token, ns, r.Header)
		}
		fmt.Fprint(w, `{"data": {"token": "`+canary+`"}}`)
	})
	p := provider(t, func(cfg *Config) { cfg.Address, cfg.Namespace = server.URL, "team" })
	if grant, err := p.Fetch(t.Context(), credential.Ask{Reference: "kv/x#token"}); err != nil || string(grant.Secret.Reveal()) != canary {
		t.Errorf("%v", err)
	}
}

// TestServerIsKnownByItsCertificate, or nothing is said to it.
func TestServerIsKnownByItsCertificate(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		from, to time.Time
		host     string
		trusted  bool
		want     string
	}{
		"good":      {now.Add(-time.Hour), now.Add(time.Hour), "127.0.0.1", true, ""},
		"expired":   {now.Add(-time.Hour), now.Add(-time.Minute), "127.0.0.1", true, "expired"},
		"other":     {now.Add(-time.Hour), now.Add(time.Hour), "192.0.2.1", true, "cannot be trusted"},
		"unknown":   {now.Add(-time.Hour), now.Add(time.Hour), "127.0.0.1", false, "cannot be trusted"},
		"not valid": {now.Add(time.Hour), now.Add(2 * time.Hour), "127.0.0.1", true, "not valid yet"},
	} {
		t.Run(name, func(t *testing.T) {
			certificate, file := certificate(t, c.from, c.to, c.host)
			server := httptest.NewUnstartedServer(withLogin(func(w http.ResponseWriter, _ *http.Request) {
				if c.want != "" {
					t.Error("it was asked")
				}
				fmt.Fprint(w, `{"data": {"token": "`+canary+`"}}`)
			}))
			server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
			server.Config.ErrorLog = nil
			server.StartTLS()
			defer server.Close()
			p := provider(t, func(cfg *Config) {
				cfg.Address = server.URL
				if c.trusted {
					cfg.CAFile = file
				}
			})
			_, err := p.Fetch(context.Background(), credential.Ask{Reference: "kv/x#token"})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// certificate makes one that is its own authority, and a file of it.
func certificate(t *testing.T, from, to time.Time, host string) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: from, NotAfter: to,
		IPAddresses: []net.IP{net.ParseIP(host)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

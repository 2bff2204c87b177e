package vault

import (
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
)

// canary is a text that only a server says, and nobody may be told.
const canary = "canary-of-the-broken-server"

// broken are what a server can answer to a login that it took, and what a
// caller is told of it.
var broken = map[string]struct {
	answer http.HandlerFunc
	want   string
}{
	"403": {func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(403)
		fmt.Fprintf(w, `{"errors": ["permission denied", %q]}`, canary)
	}, "denies it to creeld (status 403)"},
	"404": {func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(404)
		fmt.Fprintf(w, `{"data": {"token": %q}}`, canary)
	}, "nothing at this path"},
	"garbage": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, canary) }, "not that of a vault"},
	"huge body": {func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"data": {"token": %q}, "x": "%s"}`, canary, strings.Repeat("x", 8<<20))
	}, "longer than 1 MiB"},
	"ten seconds late": {func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(10 * time.Second):
		case <-r.Context().Done():
		}
	}, "no answer within 2s"},
	"no end": {func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			fmt.Fprint(w, " ")
			w.(http.Flusher).Flush()
			time.Sleep(50 * time.Millisecond)
		}
	}, "no answer within 2s"},
}

// TestBrokenVaultRefusesTheCommandInTime, and the caller is told which provider
// and path it is, and nothing that the server said.
func TestBrokenVaultRefusesTheCommandInTime(t *testing.T) {
	var now atomic.Pointer[http.HandlerFunc]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or else the client's end would not be noticed
		if r.URL.Path == "/v1/auth/approle/login" {
			fmt.Fprint(w, `{"auth": {"client_token": "hvs.login", "lease_duration": 3600}}`)
			return
		}
		(*now.Load())(w, r)
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	r := rigAt(t, server.URL, "role\nsecret\n", "")
	for _, from := range []string{"kv/x#token", "auth/token/create/task#token"} {
		r.WritePolicy("exec-default", r.PolicyText("exec-default", "credentials: [{env: TOKEN, from: 'vault:"+from+"'}]"))
		r.Reload()
		for name, c := range broken {
			t.Run(name+" at "+from, func(t *testing.T) {
				now.Store(&c.answer)
				began := time.Now()
				got := r.Exec("true")
				if took := time.Since(began); took > 8*time.Second {
					t.Errorf("it took %v", took)
				}
				if want := "fetch credential TOKEN from vault:" + from; got.Code != 125 || !strings.Contains(got.Stderr, want) || !strings.Contains(got.Stderr, c.want) {
					t.Errorf("ended with %d: %s", got.Code, got.Stderr)
				}
				if strings.Contains(got.Stderr+r.Log(), canary) {
					t.Errorf("what the server said is told: %s", got.Stderr)
				}
			})
		}
	}
	fine := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"auth": {"client_token": %q, "accessor": "a", "lease_duration": 60}}`, canary)
	})
	now.Store(&fine)
	if got := r.Exec("true"); got.Code != 0 {
		t.Errorf("control: %s", got.Stderr)
	}
}

// TestExpiredCertificateRefusesTheCommand before it is asked for anything.
func TestExpiredCertificateRefusesTheCommand(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	for name, end := range map[string]time.Duration{"expired": -time.Minute, "control": time.Hour} {
		of := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(end),
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
		der, err := x509.CreateCertificate(rand.Reader, of, of, &key.PublicKey, key)
		check(t, err)
		check(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
		var asked atomic.Bool
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			asked.Store(true)
			w.WriteHeader(503)
			fmt.Fprint(w, `{"errors": ["Vault is sealed"]}`)
		}))
		server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
		server.StartTLS()
		r := rigConfig(t, fmt.Sprintf("vault: {address: %q, caFile: %s, timeout: 2s}\n", server.URL, ca), "role\nsecret\n",
			"credentials: [{env: TOKEN, from: 'vault:kv/x#token'}]")
		got := r.Exec("true")
		if got.Code != 125 || !strings.Contains(got.Stderr, "fetch credential TOKEN from vault:kv/x#token") || strings.Contains(got.Stderr, "certificate has expired") != (name == "expired") || asked.Load() == (name == "expired") {
			t.Errorf("%s: asked %v, %d: %s", name, asked.Load(), got.Code, got.Stderr)
		}
		server.Close()
	}
}

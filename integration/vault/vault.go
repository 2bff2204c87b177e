// Package vault starts a real Vault server for the tests below it, and asks it
// as an operator does.
//
// It may import the standard library and package cache, and nothing else of
// ours: what creel does with a vault is not tested by creel's own client. It
// never reaches a server it did not start.
package vault

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/integration/cache"
)

// Program is the server, built once for all tests of a machine: that takes
// some minutes.
func Program(t testing.TB) string {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	module := filepath.Join(filepath.Dir(here), "server")
	var source []byte
	for _, name := range []string{"go.mod", "go.sum", "main.go"} {
		data, err := os.ReadFile(filepath.Join(module, name))
		check(t, err)
		source = append(source, data...)
	}
	dir, err := cache.Directory("/var/cache/creel/vault", 0o755, string(source), func(partial string) error {
		build := exec.Command("go", "build", "-o", filepath.Join(partial, "server"), ".")
		build.Dir = module
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build the server: %w\n%s", err, out)
		}
		return nil
	})
	check(t, err)
	return filepath.Join(dir, "server")
}

// Server is a running server, initialised and unsealed.
type Server struct {
	t       testing.TB
	Address string // URL
	Root    string // the root token
	client  *http.Client
	command *exec.Cmd
	key     string
}

// Options change a server from its defaults.
type Options struct {
	// Program is the server, where it is not to be looked for.
	Program string
	// Cert and Key are files in PEM; without them there is no TLS.
	Cert, Key string
	Client    *http.Client
}

// Start starts a server that ends with the test, with KV of version 1 at kv1,
// of version 2 at kv, and AppRole.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s := &Server{t: t, client: o.Client}
	scheme := "https://"
	if o.Cert == "" {
		scheme, s.client = "http://", http.DefaultClient
	}
	if o.Program == "" {
		o.Program = Program(t)
	}
	s.command = exec.Command(o.Program, "-cert", o.Cert, "-key", o.Key)
	s.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var log bytes.Buffer
	s.command.Stderr = &log
	out, err := s.command.StdoutPipe()
	check(t, err)
	check(t, s.command.Start())
	t.Cleanup(func() {
		_ = s.command.Process.Kill()
		_ = s.command.Wait()
		if t.Failed() {
			t.Logf("the server said:\n%s", log.String())
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	check(t, err)
	s.Address = scheme + strings.TrimSpace(line)
	answer := s.Do("PUT", "sys/init", map[string]any{"secret_shares": 1, "secret_threshold": 1})
	s.Root, s.key = answer["root_token"].(string), answer["keys"].([]any)[0].(string)
	s.Unseal()
	s.Do("POST", "sys/mounts/kv1", map[string]any{"type": "kv", "options": map[string]any{"version": "1"}})
	s.Do("POST", "sys/mounts/kv", map[string]any{"type": "kv", "options": map[string]any{"version": "2"}})
	s.Do("POST", "sys/auth/approle", map[string]any{"type": "approle"})
	return s
}

// Seal makes the server forget its key; Unseal tells it again.
func (s *Server) Seal() { s.t.Helper(); s.Do("PUT", "sys/seal", nil) }

// Unseal returns once the server answers questions again.
func (s *Server) Unseal() {
	s.t.Helper()
	s.Do("PUT", "sys/unseal", map[string]any{"key": s.key})
	deadline := time.Now().Add(30 * time.Second)
	for s.Try("GET", "sys/mounts", nil, nil) != http.StatusOK {
		if time.Now().After(deadline) {
			s.t.Fatal("the server does not become active")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Pause stops the server's process, or lets it go on.
func (s *Server) Pause(stop bool) {
	s.t.Helper()
	signal := syscall.SIGCONT
	if stop {
		signal = syscall.SIGSTOP
	}
	check(s.t, s.command.Process.Signal(signal))
}

// Do asks as root and wants an answer that is no error.
func (s *Server) Do(method, path string, body map[string]any) map[string]any {
	s.t.Helper()
	var answer map[string]any
	if status := s.Try(method, path, body, &answer); status >= 300 {
		s.t.Fatalf("%s %s: status %d: %v", method, path, status, answer)
	}
	return answer
}

// Try asks as root and gives the status.
func (s *Server) Try(method, path string, body map[string]any, answer *map[string]any) int {
	s.t.Helper()
	return s.As(s.Root, method, path, body, answer)
}

// As asks with a token and gives the status.
func (s *Server) As(token, method, path string, body map[string]any, answer *map[string]any) int {
	s.t.Helper()
	data, err := json.Marshal(body)
	check(s.t, err)
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.Address+"/v1/"+path, bytes.NewReader(data))
	check(s.t, err)
	request.Header.Set("X-Vault-Token", token)
	response, err := s.client.Do(request)
	check(s.t, err)
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	check(s.t, err)
	if answer != nil && len(got) > 0 {
		check(s.t, json.Unmarshal(got, answer))
	}
	return response.StatusCode
}

// Policy is what creeld needs to do in a vault.
const Policy = `
path "sys/internal/ui/mounts/*" { capabilities = ["read"] }
path "auth/token/create/*" { capabilities = ["update"] }
path "auth/token/revoke-accessor" { capabilities = ["update"] }
path "sys/leases/revoke" { capabilities = ["update"] }
path "sys/leases/renew" { capabilities = ["update"] }
path "kv1/*" { capabilities = ["read"] }
path "kv/data/*" { capabilities = ["read"] }
path "database/creds/*" { capabilities = ["read"] }
`

// Role makes a role of AppRole with a policy's text, and gives both its IDs as
// creeld reads them.
func (s *Server) Role(name, policy string) string {
	s.t.Helper()
	s.Do("PUT", "sys/policies/acl/"+name, map[string]any{"policy": policy})
	s.Do("POST", "auth/approle/role/"+name, map[string]any{"token_policies": name, "token_ttl": "1h"})
	role := s.Do("GET", "auth/approle/role/"+name+"/role-id", nil)["data"].(map[string]any)["role_id"].(string)
	secret := s.Do("POST", "auth/approle/role/"+name+"/secret-id", map[string]any{})["data"].(map[string]any)["secret_id"].(string)
	return role + "\n" + secret + "\n"
}

// Tokens makes a role of auth/token/create, whose tokens may look at
// themselves and no more.
func (s *Server) Tokens(role string) {
	s.t.Helper()
	s.Do("POST", "auth/token/roles/"+role, map[string]any{"allowed_policies": "default", "token_type": "service", "renewable": false})
}

// Minted counts the tokens that creel made and that are valid now.
func (s *Server) Minted() int { s.t.Helper(); return len(s.valid("token-creel")) }

// Logins are the accessors of the logins by AppRole that are valid now.
func (s *Server) Logins() []string { s.t.Helper(); return s.valid("approle") }

// valid are the accessors of the tokens of a display name. It must not be asked
// while a token is being made: a server that is asked about one which has no
// lease yet takes it for a remainder, and revokes it.
func (s *Server) valid(name string) (found []string) {
	s.t.Helper()
	for _, accessor := range s.Do("LIST", "auth/token/accessors", nil)["data"].(map[string]any)["keys"].([]any) {
		if accessor := accessor.(string); s.named(accessor) == name {
			found = append(found, accessor)
		}
	}
	return found
}

// named is the display name of a token that is valid now, or "".
func (s *Server) named(accessor string) string {
	s.t.Helper()
	var answer map[string]any
	if s.Try("POST", "auth/token/lookup-accessor", map[string]any{"accessor": accessor}, &answer) != http.StatusOK {
		return ""
	}
	return answer["data"].(map[string]any)["display_name"].(string)
}

// Audit has the server write down what it does from now on, and gives a
// function that counts the requests of a path which it did not refuse.
func (s *Server) Audit() func(path string) int {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "audit.log")
	s.Do("PUT", "sys/audit/file", map[string]any{"type": "file", "options": map[string]any{"file_path": file}})
	return func(path string) (n int) {
		s.t.Helper()
		data, err := os.ReadFile(file)
		check(s.t, err)
		for line := range bytes.Lines(data) {
			var entry struct {
				Type, Error string
				Request     struct{ Path string }
			}
			check(s.t, json.Unmarshal(line, &entry))
			if entry.Type == "response" && entry.Error == "" && entry.Request.Path == path {
				n++
			}
		}
		return n
	}
}

// Accepts reports whether a token is valid.
func (s *Server) Accepts(token string) bool {
	s.t.Helper()
	return s.As(token, "GET", "auth/token/lookup-self", nil, nil) == http.StatusOK
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

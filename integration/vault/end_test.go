package vault

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// TestLeaseIsRevokedHoweverTheCommandEnds has the command use its token, and
// the same token refused within a second of the command's end.
func TestLeaseIsRevokedHoweverTheCommandEnds(t *testing.T) {
	s := Start(t, Options{})
	s.Tokens("task")
	r := rig(t, s, oneToken(s))
	for name, c := range map[string]struct {
		flags []string
		end   func(client *exec.Cmd)
	}{
		"exit":        {end: func(*exec.Cmd) { check(t, os.WriteFile(r.Workspace+"/enough", nil, 0o644)) }},
		"time limit":  {flags: []string{"--timeout", "2s"}, end: func(*exec.Cmd) {}},
		"killed":      {end: func(*exec.Cmd) { r.Creel("kill", "--all") }},
		"caller gone": {end: func(client *exec.Cmd) { check(t, client.Process.Kill()) }},
		"creeld stopped": {end: func(*exec.Cmd) {
			r.StopSupervisor()
			r.StartSupervisor()
		}},
		"creeld killed": {end: func(*exec.Cmd) {
			r.KillSupervisor()
			if s.Minted() != 1 {
				t.Error("control: a killed creeld has revoked its lease")
			}
			r.StartSupervisor()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			client, token := launch(t, s, r, c.flags...)
			if !s.Accepts(token) {
				t.Fatal("control: the token does not work while the command runs")
			}
			c.end(client)
			_ = client.Wait()
			refusedWithin(t, s, token)
			if n := s.Minted(); n != 0 {
				t.Errorf("%d tokens are left", n)
			}
		})
	}
}

// TestSandboxIsEndedWithItsLease, and an operator sees why.
func TestSandboxIsEndedWithItsLease(t *testing.T) {
	s := Start(t, Options{})
	s.Tokens("task")
	r := rig(t, s, oneToken(s))
	r.WritePolicy("short", r.PolicyText("short", strings.Replace(oneToken(s), "10m", "5s", 1)))
	r.Reload()
	if got := r.Creel("policy", "check", r.Policies+"/short.yaml"); !strings.Contains(got.Stdout+got.Stderr, "a command may run for longer than the credential is valid") {
		t.Errorf("policy check says %s%s", got.Stdout, got.Stderr)
	}
	client, token := launch(t, s, r, "--policy", "short")
	if !s.Accepts(token) {
		t.Fatal("control: the token does not work while the command runs")
	}
	_ = client.Wait()
	if code := client.ProcessState.ExitCode(); code != 137 || !strings.Contains(client.Stderr.(fmt.Stringer).String(), "was ended with its credential") {
		t.Errorf("ended with %d: %v", code, client.Stderr)
	}
	refusedWithin(t, s, token)
	if got := r.Creel("ps", "-a"); !strings.Contains(got.Stdout, "(credential-expired, 137)") {
		t.Errorf("ps -a says %s", got.Stdout)
	}
}

// TestNoLeaseIsLeftByACommandThatDoesNotStart, for whatever reason.
func TestNoLeaseIsLeftByACommandThatDoesNotStart(t *testing.T) {
	s := Start(t, Options{})
	s.Tokens("task")
	r := rig(t, s, oneToken(s))
	r.WritePolicy("half", r.PolicyText("half", "credentials:\n"+
		"  - {env: TOKEN, from: 'vault:auth/token/create/task#token'}\n"+
		"  - {env: FIELD, from: 'vault:auth/token/create/task#none'}\n"+
		"  - {env: OTHER, from: 'vault:kv/none#token'}\n"))
	r.WritePolicy("denied", r.PolicyText("denied", "credentials:\n"+
		"  - {env: TOKEN, from: 'vault:auth/token/create/task#token'}\n"+
		"  - {env: OTHER, from: 'vault:sys/internal/counters/tokens#x'}\n"))
	r.Reload()
	for _, c := range []struct {
		policy string
		argv   []string
		code   int
		want   []string
	}{
		{"exec-default", []string{"/no/such/command"}, 127, []string{"not found"}},
		{"half", []string{"true"}, 125, []string{"FIELD from vault:auth/token/create/task#none", "none of this name", "OTHER from vault:kv/none#token", "nothing at this path"}},
		{"denied", []string{"true"}, 125, []string{"OTHER from vault:sys/internal/counters/tokens#x", "denies it to creeld (status 403)"}},
	} {
		got := r.Creel(append([]string{"exec", "--policy", c.policy, "--"}, c.argv...)...)
		if got.Code != c.code {
			t.Errorf("%s: ended with %d: %s", c.policy, got.Code, got.Stderr)
		}
		for _, want := range c.want {
			if !strings.Contains(got.Stderr, want) {
				t.Errorf("%s: %q is not in: %s", c.policy, want, got.Stderr)
			}
		}
		if strings.Contains(got.Stderr+r.Log(), "hvs.") {
			t.Errorf("%s: a token was told:\n%s\n%s", c.policy, got.Stderr, r.Log())
		}
		r.Eventually(c.policy+": no token is left", func() bool { return s.Minted() == 0 })
	}
}

func TestOperatorTakesCredentialsBackAtOnce(t *testing.T) {
	s := Start(t, Options{})
	s.Tokens("task")
	r := rig(t, s, oneToken(s))
	for name, args := range map[string]func(id string) []string{
		"ID":     func(id string) []string { return []string{id[:6]} },
		"policy": func(string) []string { return []string{"--policy", "exec-default"} },
		"all":    func(string) []string { return []string{"--all"} },
	} {
		t.Run(name, func(t *testing.T) {
			client, token := launch(t, s, r)
			if out, err := exec.Command("grep", "-rlF", token, r.Dir).Output(); err != nil || string(out) != r.Workspace+"/token\n" {
				t.Errorf("the token is in %s, want the workspace alone, where the command wrote it: %v", out, err)
			}
			if got := r.Creel("ps"); !strings.Contains(got.Stdout, "1 live") {
				t.Errorf("control: ps says %s", got.Stdout)
			}
			if got := r.Creel("credential", "revoke", "--policy", "another"); got.Code != 0 || !s.Accepts(token) {
				t.Errorf("control: another policy's: %d, %s", got.Code, got.Stderr)
			}
			got := r.Creel(append([]string{"credential", "revoke"}, args(running(t, r))...)...)
			if got.Code != 0 || !strings.Contains(got.Stdout, "revoked") {
				t.Errorf("revoke: %d, %s%s", got.Code, got.Stdout, got.Stderr)
			}
			if s.Accepts(token) {
				t.Error("the token is still accepted")
			}
			if got := r.Creel("ps"); !strings.Contains(got.Stdout, "1 revoked") {
				t.Errorf("ps says %s", got.Stdout)
			}
			check(t, os.WriteFile(r.Workspace+"/enough", nil, 0o644))
			check(t, client.Wait())
		})
	}
}

// running is the ID of the one sandbox there is.
func running(t *testing.T, r *testrig.Rig) string {
	t.Helper()
	var list struct {
		Sandboxes []struct{ ID string }
	}
	check(t, json.Unmarshal([]byte(r.Creel("ps", "--json").Stdout), &list))
	if len(list.Sandboxes) != 1 {
		t.Fatalf("there are %d sandboxes", len(list.Sandboxes))
	}
	return list.Sandboxes[0].ID
}

// TestVaultThatIsAwayAtTheEndIsAskedAgain, and an operator is told meanwhile.
func TestVaultThatIsAwayAtTheEndIsAskedAgain(t *testing.T) {
	s := Start(t, Options{})
	s.Tokens("task")
	r := rig(t, s, oneToken(s))
	client, token := launch(t, s, r)
	s.Pause(true)
	check(t, client.Process.Kill())
	_ = client.Wait()
	r.Eventually("the operator is told", func() bool {
		return strings.Contains(r.Creel("ps").Stderr, "is not revoked yet: revoke by auth/token/revoke-accessor: no answer within 2s")
	})
	if got := r.Creel("credential", "revoke", "--all"); got.Code != 1 || !strings.Contains(got.Stderr, "not revoked yet") {
		t.Errorf("revoke: %d, %s", got.Code, got.Stderr)
	}
	s.Pause(false)
	r.Eventually("the token is refused", func() bool { return !s.Accepts(token) })
}

// TestVaultThatDoesNotAnswerRefusesTheCommandInTime.
func TestVaultThatDoesNotAnswerRefusesTheCommandInTime(t *testing.T) {
	s := Start(t, Options{})
	s.Tokens("task")
	r := rig(t, s, "credentials: [{env: TOKEN, from: 'vault:auth/token/create/task#token'}]")
	if got := r.Exec("true"); got.Code != 0 {
		t.Fatalf("control: %s", got.Stderr)
	}
	for _, c := range []struct {
		name, want string
		before     func()
		after      func()
	}{
		{"slow", "no answer within 2s", func() { s.Pause(true) }, func() { s.Pause(false) }},
		{"sealed", "sealed", s.Seal, s.Unseal},
		{"down", "nothing listens", func() { _ = s.command.Process.Kill(); _, _ = s.command.Process.Wait() }, func() {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.before()
			began := time.Now()
			got := r.Exec("true")
			took := time.Since(began)
			c.after()
			if want := "fetch credential TOKEN from vault:auth/token/create/task#token"; got.Code != 125 || !strings.Contains(got.Stderr, want) || !strings.Contains(got.Stderr, c.want) {
				t.Errorf("ended with %d: %s", got.Code, got.Stderr)
			}
			if took > 8*time.Second {
				t.Errorf("it took %v", took)
			}
			if c.name != "down" {
				r.Eventually("no token is left", func() bool { return s.Minted() == 0 })
			}
		})
	}
}

var invocations = flag.Int("invocations", 1000, "how many commands with three credentials each are run and counted")

// TestEveryLeaseThatIsMadeIsRevoked is counted by the server, in its audit: what
// it has made and what revoked, and what of it is left.
func TestEveryLeaseThatIsMadeIsRevoked(t *testing.T) {
	s := Start(t, Options{})
	s.Tokens("task")
	count := s.Audit()
	r := rig(t, s, "credentials: [{env: A, from: 'vault:auth/token/create/task#token'}, {env: B, from: 'vault:auth/token/create/task#token'}, {env: C, from: 'vault:auth/token/create/task#token'}]")
	var all sync.WaitGroup
	turns := make(chan int, *invocations)
	for i := range *invocations {
		turns <- i
	}
	close(turns)
	for range 4 {
		all.Go(func() {
			for i := range turns {
				script := fmt.Sprintf(`[ "$A" != "$B" ] && [ "$B" != "$C" ] && printf '%%s\n' "$A" "$B" "$C" >/workspace/tokens.%d`, i)
				if got := r.Shell(script); got.Code != 0 {
					t.Errorf("ended with %d: %s", got.Code, got.Stderr)
				}
			}
		})
	}
	all.Wait()
	tokens := map[string]bool{}
	for i := range *invocations {
		data, err := os.ReadFile(fmt.Sprintf("%s/tokens.%d", r.Workspace, i))
		check(t, err)
		for _, token := range strings.Fields(string(data)) {
			tokens[token] = true
		}
	}
	if len(tokens) != 3**invocations {
		t.Errorf("%d tokens were made for %d commands", len(tokens), *invocations)
	}
	r.Eventually("no token is left", func() bool { return s.Minted() == 0 })
	made, revoked := count("auth/token/create/task"), count("auth/token/revoke-accessor")
	t.Logf("the server has made %d tokens for %d commands, and revoked %d", made, *invocations, revoked)
	if made != 3**invocations || revoked != made {
		t.Errorf("the server has made %d tokens and revoked %d, want %d of both", made, revoked, 3**invocations)
	}
	r.StopSupervisor() // or else its own login is written down
	left, err := os.ReadDir(r.Dir + "/state/leases")
	check(t, err)
	if len(left) != 0 {
		t.Errorf("%d leases are still written down", len(left))
	}
}

// TestLoginEndsWithItsSupervisor, or when the next one starts.
func TestLoginEndsWithItsSupervisor(t *testing.T) {
	s := Start(t, Options{})
	s.Tokens("task")
	r := rig(t, s, oneToken(s))
	logIn := func() string {
		t.Helper()
		if got := r.Exec("true"); got.Code != 0 {
			t.Fatalf("control: %s", got.Stderr)
		}
		logins := s.Logins()
		if len(logins) != 1 {
			t.Fatalf("there are %d logins, want one", len(logins))
		}
		return logins[0]
	}
	logIn()
	r.StopSupervisor()
	if left := s.Logins(); len(left) != 0 {
		t.Errorf("a supervisor that stopped leaves the login %v", left)
	}
	r.StartSupervisor()
	login := logIn()
	s.Seal()
	r.StopSupervisor()
	s.Unseal()
	if left := s.Logins(); len(left) != 1 {
		t.Fatalf("control: of a vault that is sealed nobody logs out, and yet the logins are %v", left)
	}
	r.StartSupervisor()
	r.Eventually("the login is revoked", func() bool { return !slices.Contains(s.Logins(), login) })
}

// TestKilledSupervisorLeavesNoLeaseItWasNotToldOf kills creeld while what the
// vault has just made for it is on its way: the login goes, and with it all that
// it made.
func TestKilledSupervisorLeavesNoLeaseItWasNotToldOf(t *testing.T) {
	s := Start(t, Options{})
	s.Tokens("task")
	vault, err := url.Parse(s.Address)
	check(t, err)
	made, let := make(chan bool, 8), make(chan bool)
	var hold atomic.Bool
	between := httputil.NewSingleHostReverseProxy(vault)
	between.ModifyResponse = func(answer *http.Response) error {
		if hold.Load() && strings.HasPrefix(answer.Request.URL.Path, "/v1/auth/token/create/") {
			made <- true
			<-let
		}
		return nil
	}
	between.ErrorLog = log.New(io.Discard, "", 0) // that its client has been killed
	proxy := httptest.NewServer(between)
	t.Cleanup(proxy.Close)
	r := rigAt(t, proxy.URL, s.Role("creeld", Policy), "credentials: [{env: A, from: 'vault:auth/token/create/task#token'}, {env: B, from: 'vault:auth/token/create/task#token'}]")
	if got := r.Exec("true"); got.Code != 0 {
		t.Fatalf("control: %s", got.Stderr)
	}
	r.Eventually("no token is left", func() bool { return s.Minted() == 0 })
	hold.Store(true)
	client := r.Command("exec", "--", "true")
	check(t, client.Start())
	<-made
	<-made
	if n := s.Minted(); n != 2 {
		t.Fatalf("control: %d tokens are made, want two", n)
	}
	r.KillSupervisor()
	_ = client.Wait()
	hold.Store(false)
	close(let)
	if n := s.Minted(); n != 2 {
		t.Errorf("control: with creeld killed %d tokens are left, want both", n)
	}
	r.StartSupervisor()
	r.Eventually("no token is left", func() bool { return s.Minted() == 0 })
}

package vault

import (
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// everyKind is a policy with a credential of each kind that a vault gives.
const everyKind = "credentials:\n" +
	"  - {env: A, from: 'vault:kv/there#token'}\n" +
	"  - {env: B, from: 'vault:kv/there#none'}\n" +
	"  - {env: C, from: 'vault:kv1/missing#token'}\n" +
	"  - {env: D, from: 'vault:auth/token/create/task#token', ttl: 10m}\n" +
	"  - {env: E, from: 'vault:database/creds/reader#username', ttl: 10m}\n"

// doctored are the doctor's lines about the vault, by their names: the level,
// the detail and the hint.
func doctored(t *testing.T, r *testrig.Rig) map[string]string {
	t.Helper()
	began := time.Now()
	got := r.Creel("doctor", "--json")
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the doctor took %v", took)
	}
	var reply struct {
		Findings []struct{ Name, Level, Detail, Hint string }
	}
	if err := json.Unmarshal([]byte(got.Stdout), &reply); err != nil {
		t.Fatalf("%v: %s%s", err, got.Stdout, got.Stderr)
	}
	found := map[string]string{}
	for _, f := range reply.Findings {
		if strings.HasPrefix(f.Name, "vault") {
			found[f.Name] += strings.Join([]string{f.Level, f.Detail, f.Hint}, "|") + "\n"
		}
	}
	return found
}

func says(t *testing.T, found map[string]string, want map[string]string) {
	t.Helper()
	for name, text := range want {
		if !strings.Contains(found[name], text) {
			t.Errorf("of %s the doctor says %q, want %q", name, found[name], text)
		}
	}
}

// TestDoctorTellsOfTheVaultAndMakesNothing, of a role that has its rights and
// then of one that lacks two of them.
func TestDoctorTellsOfTheVaultAndMakesNothing(t *testing.T) {
	s := Start(t, Options{})
	s.Tokens("task")
	s.Do("POST", "kv/data/there", map[string]any{"data": map[string]any{"token": "a value that is kept"}})
	s.Do("POST", "sys/mounts/database", map[string]any{"type": "database"})
	r := rig(t, s, everyKind)
	found := doctored(t, r)
	says(t, found, map[string]string{
		"vault":                                "ok|the vault at " + s.Address + " answers, version ",
		"vault:kv/there#token":                 "ok|it is there",
		"vault:kv/there#none":                  "error|find field none",
		"vault:kv1/missing#token":              "error|there is nothing at this path",
		"vault:auth/token/create/task#token":   "ok|creeld may ask for it",
		"vault:auth/token/revoke-accessor":     "ok|creeld may take back",
		"vault:database/creds/reader#username": "ok|creeld may ask for it",
		"vault:sys/leases/revoke":              "ok|creeld may take back",
	})
	if !strings.Contains(found["vault"], "ok|creeld is logged in as a role, for another ") {
		t.Errorf("of its login the doctor says %s", found["vault"])
	}
	if n := s.Minted(); n != 0 {
		t.Errorf("to ask has made %d tokens", n)
	}
	for _, text := range found {
		if strings.Contains(text, "a value that is kept") || strings.Contains(text, "hvs.") {
			t.Errorf("a value is told: %s", text)
		}
	}
	less := strings.NewReplacer(`path "auth/token/create/*" { capabilities = ["update"] }`, "", `path "sys/leases/revoke" { capabilities = ["update"] }`, "")
	s.Do("PUT", "sys/policies/acl/creeld", map[string]any{"policy": less.Replace(Policy)})
	says(t, doctored(t, r), map[string]string{
		"vault:auth/token/create/task#token": `error|the vault denies it to creeld|allow its role "update" on auth/token/create/task`,
		"vault:sys/leases/revoke":            `error|the vault denies it to creeld|allow its role "update" on sys/leases/revoke`,
		"vault:auth/token/revoke-accessor":   "ok|",
	})
	s.Seal()
	says(t, doctored(t, r), map[string]string{"vault": "error|the vault at " + s.Address + " is sealed"})
}

// TestDoctorWarnsOfARootTokenAndNoCommandGetsOne.
func TestDoctorWarnsOfARootTokenAndNoCommandGetsOne(t *testing.T) {
	s := Start(t, Options{})
	s.Tokens("task")
	r := rigAt(t, s.Address, s.Root, "credentials: [{env: A, from: 'vault:auth/token/create#token'}]")
	r.WritePolicy("role", r.PolicyText("role", "credentials: [{env: A, from: 'vault:auth/token/create/task#token'}]"))
	r.Reload()
	if found := doctored(t, r); !strings.Contains(found["vault"], "warning|creeld uses the token that it was given, a root token") {
		t.Errorf("the doctor says %v", found)
	}
	if got := r.Exec("true"); got.Code != 125 || !strings.Contains(got.Stderr, "made a root token, which creel gives to no command") {
		t.Errorf("without a role: %d, %s", got.Code, got.Stderr)
	}
	if got := r.Creel("exec", "--policy", "role", "--", "true"); got.Code != 0 {
		t.Errorf("control, with a role: %d, %s", got.Code, got.Stderr)
	}
	r.Eventually("no token is left", func() bool { return s.Minted() == 0 })
}

// TestDoctorDoesNotWaitForAVaultThatIsAway, nor for a login that fails.
func TestDoctorDoesNotWaitForAVaultThatIsAway(t *testing.T) {
	silent, err := net.Listen("tcp4", "127.0.0.1:0")
	check(t, err)
	defer silent.Close()
	r := rigAt(t, "http://"+silent.Addr().String(), "role\nsecret\n", everyKind)
	says(t, doctored(t, r), map[string]string{"vault": "error|the vault at http://" + silent.Addr().String() + ": no answer within 10s"})
	check(t, silent.Close())
	says(t, doctored(t, r), map[string]string{"vault": "nothing listens at the vault's address"})
	s := Start(t, Options{})
	r = rigAt(t, s.Address, "no such role\nno such secret\n", everyKind)
	says(t, doctored(t, r), map[string]string{"vault": "error|creeld cannot log in: as a role: "})
}

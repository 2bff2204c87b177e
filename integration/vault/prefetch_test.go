package vault

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// TestPrefetchedTokenIsOneCommandsOrRevoked has two tokens wait, and looks at
// what the server accepts of them through all that can happen to whoever holds
// them.
func TestPrefetchedTokenIsOneCommandsOrRevoked(t *testing.T) {
	s := Start(t, Options{})
	s.Tokens("task")
	text := "pool: {warm: 2}\n" + strings.Replace(oneToken(s), "ttl: 10m", "ttl: 10m, prefetch: true", 1)
	r := rig(t, s, text)
	two := func() []string {
		t.Helper()
		var accessors []string
		r.Eventually("two tokens wait", func() bool {
			if strings.Count(r.Creel("ps").Stdout, "1 live") != 2 { // or one might be being made
				return false
			}
			accessors = s.valid("token-creel")
			return len(accessors) == 2
		})
		return accessors
	}
	revoked := func(what string, accessors []string) {
		t.Helper()
		r.Eventually(what+": they are revoked", func() bool {
			return !slices.ContainsFunc(accessors, func(accessor string) bool { return s.named(accessor) != "" })
		})
	}

	waiting := two()
	client, token := launch(t, s, r)
	var answer map[string]any
	s.As(token, "GET", "auth/token/lookup-self", nil, &answer)
	if used, _ := answer["data"].(map[string]any)["accessor"].(string); !slices.Contains(waiting, used) {
		t.Errorf("the command has the token %s, want one of those that waited, %v", used, waiting)
	}
	check(t, os.WriteFile(r.Workspace+"/enough", nil, 0o644))
	check(t, client.Wait())
	refusedWithin(t, s, token)

	waiting = two()
	r.Reload()
	revoked("reload", waiting)
	waiting = two()
	r.KillSupervisor()
	if left := s.valid("token-creel"); len(left) < 2 {
		t.Errorf("control: a killed creeld has revoked its leases: %v", left)
	}
	r.StartSupervisor()
	revoked("creeld killed", waiting)
	two()
	r.StopSupervisor()
	if left := s.valid("token-creel"); len(left) != 0 {
		t.Errorf("creeld stopped: %v are left", left)
	}
}

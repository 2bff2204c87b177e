package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/runner/server"
	"github.com/creel-sandbox/creel/runner/server/servertest"
)

// holding makes a token and gives a creel that has it.
func (r *rig) holding(t *testing.T, name string) (holder *rig, token string) {
	t.Helper()
	made := r.run(t, "token", "create", "--policy", "exec-default", name)
	made.want(t, 0, "it ends on")
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(made.stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	env := append([]string{}, r.env[:3]...)
	return &rig{host: r.host, server: r.server, sockets: r.sockets, env: append(env, "CREEL_SOCKET="+r.sockets.Token, "CREEL_TOKEN_FILE="+file)}, strings.TrimSpace(made.stdout)
}

func TestTokenIsPrintedOnceAndNeverListed(t *testing.T) {
	r := newRig(t)
	_, token := r.holding(t, "ci")
	if !strings.HasPrefix(token, "creel_") || strings.ContainsAny(token, " \n") {
		t.Errorf("printed %d bytes that are no token", len(token))
	}
	r.run(t, "token", "create", "--policy", "exec-default", "ci").want(t, 125, "there is a token ci")
	listed, raw := r.run(t, "token", "ls"), r.run(t, "token", "ls", "--json")
	listed.want(t, 0)
	raw.want(t, 0)
	if fields := strings.Join(strings.Fields(listed.stdout), " "); fields != "NAME STATE POLICIES REFUSED ONLY FOR CREATED MADE EXPIRES USED "+
		"ci ok exec-default - - 2026-01-02 2026-01-02 2026-02-01 never" {
		t.Errorf("listed %s", listed.stdout)
	}
	if strings.Contains(listed.stdout+raw.stdout, token[6:20]) {
		t.Error("a listing holds the token")
	}
	if got := r.completed(t, "creel token revoke "); got != "ci" {
		t.Errorf("completed as %q", got)
	}
	if got := r.completed(t, "creel token "); got != "create ls revoke rotate" {
		t.Errorf("completed as %q", got)
	}
	r.run(t, "token", "revoke", "ci").want(t, 0)
	r.run(t, "token", "revoke", "ci").want(t, 125, "there is no token ci")
	for _, args := range [][]string{{"create"}, {"create", "a", "b"}, {"rotate"}, {"revoke"}, {"ls", "x"}, {"show", "ci"}, {"create", "--days", "91", "a"}, {"create", "--days=-1", "a"}} {
		r.run(t, append([]string{"token"}, args...)...).want(t, 125, "token")
	}
}

func TestHolderOfATokenRunsCommandsAndNothingElse(t *testing.T) {
	r := newRig(t)
	holder, token := r.holding(t, "ci")
	got := holder.run(t, "exec", "--", "/usr/bin/env")
	got.want(t, 0)
	if strings.Contains(got.stdout+got.stderr, token[6:20]) {
		t.Error("the command is shown the token")
	}
	holder.run(t, "ps").want(t, 0)
	holder.run(t, "kill", "--all").want(t, 0)
	for _, args := range [][]string{{"doctor"}, {"stats"}, {"inspect", "1"}, {"secret", "ls"}, {"token", "ls"}, {"credential", "revoke", "--all"}} {
		holder.run(t, args...).want(t, 125, "no token is for", "CREEL_TOKEN_FILE")
	}
	without := &rig{env: holder.env[:4]}
	without.run(t, "exec", "--", "true").want(t, 125, "none came")
	stray := &rig{env: append(append([]string{}, r.env...), holder.env[4])}
	stray.run(t, "exec", "--", "true").want(t, 125, "takes no token")
}

var _ server.TokenKeeper = (*servertest.Host)(nil)

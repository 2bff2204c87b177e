package supervisor

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/server"
	"github.com/creel-sandbox/creel/runner/token"
)

// admittingTokens is a supervisor that can admit, with two policies that name
// the token ci, and what it logs.
func admittingTokens(t *testing.T) (*Supervisor, *bytes.Buffer) {
	t.Helper()
	s := admitting(t)
	declared, err := (&rig{t: t, workspace: "/srv/workspace"}).declare(map[string]string{
		"of-root": `callers: {users: ["0"]}`,
		"of-ci":   `callers: {tokens: [ci]}`,
		"of-both": `callers: {users: ["0"], tokens: [cron, ci], senders: [telegram:1, telegram:2]}`,
	})
	check(t, err)
	s.declared.Store(declared)
	log := &bytes.Buffer{}
	s.cfg.Log = logrus.New()
	s.cfg.Log.SetOutput(log)
	return s, log
}

// The user who shows a token counts for nothing, and for a user no token counts.
func TestPolicyAndTokenNameEachOther(t *testing.T) {
	s, _ := admittingTokens(t)
	all := []string{"of-root", "of-ci", "of-both"}
	for name, c := range map[string]struct {
		peer server.Peer
		may  []string
	}{
		"root":                          {server.Peer{}, []string{"of-both", "of-root"}},
		"ci for all":                    {server.Peer{Holder: &server.Holder{Name: "ci", Policies: all}}, []string{"of-both", "of-ci"}},
		"ci for one":                    {server.Peer{Holder: &server.Holder{Name: "ci", Policies: []string{"of-ci"}}}, []string{"of-ci"}},
		"cron for all":                  {server.Peer{Holder: &server.Holder{Name: "cron", Policies: all}}, []string{"of-both"}},
		"a token of a user's name":      {server.Peer{Holder: &server.Holder{Name: "0", Policies: all}}, nil},
		"one for nothing":               {server.Peer{Holder: &server.Holder{Name: "ci"}}, nil},
		"nobody":                        {server.Peer{UID: 1<<32 - 1}, nil},
		"a token that no policy names":  {server.Peer{Holder: &server.Holder{Name: "x", Policies: all}}, nil},
		"one for what is not a policy":  {server.Peer{Holder: &server.Holder{Name: "ci", Policies: []string{"of-nobody"}}}, nil},
		"one whose name is in no place": {server.Peer{Holder: &server.Holder{Name: "", Policies: all}}, nil},
	} {
		reply, err := s.Policies(t.Context(), c.peer)
		if err != nil || !slices.Equal(reply.Policies, c.may) {
			t.Errorf("%s may run %v, %v; want %v", name, reply.Policies, err, c.may)
		}
		for _, policy := range all {
			inv, err := s.admit(c.peer, &api.ExecRequest{Policy: policy, Sender: "telegram:1", Argv: [][]byte{[]byte("true")}}, server.Stdio{})
			if (err == nil) != slices.Contains(c.may, policy) {
				t.Errorf("%s, %s: %v", name, policy, err)
			}
			if err == nil && c.peer.Holder != nil && inv.describe().Caller != "token:"+c.peer.Holder.Name {
				t.Errorf("%s: ps shows %q", name, inv.describe().Caller)
			}
		}
	}
}

// What a token is for is checked beside what the policy lists, and told to
// nobody but the log.
func TestCommandIsRefusedForWhomTheTokenDoesNotList(t *testing.T) {
	s, log := admittingTokens(t)
	holder := &server.Holder{Name: "ci", Policies: []string{"of-ci", "of-both"}, Senders: []string{"telegram:2", "telegram:3"}, Channels: []string{"slack:C1"}}
	for _, c := range []struct{ policy, sender, channel, refused string }{
		{"of-ci", "telegram:3", "slack:C1", ""},
		{"of-both", "telegram:2", "slack:C1", ""},
		{"of-both", "telegram:3", "slack:C1", "callers.senders of the policy"},
		{"of-both", "telegram:1", "slack:C1", "its token"},
		{"of-ci", "telegram:1", "slack:C1", "its token"},
		{"of-ci", "", "slack:C1", "its token"},
		{"of-ci", "telegram:2", "", "its token"},
		{"of-ci", "telegram:2", "slack:C2", "its token"},
	} {
		log.Reset()
		_, err := s.admit(server.Peer{Holder: holder}, &api.ExecRequest{Policy: c.policy, Sender: c.sender, Channel: c.channel, Argv: [][]byte{[]byte("true")}}, server.Stdio{})
		if c.refused == "" {
			if err != nil {
				t.Errorf("%+v: %v", c, err)
			}
			continue
		}
		if told := asAPI(t, err); told.Message != "refused" || told.Hint != "" {
			t.Errorf("%+v: told %+v", c, told)
		}
		if !strings.Contains(log.String(), c.refused+" does not list") || !strings.Contains(log.String(), "token:ci") {
			t.Errorf("%+v: logged %s", c, log)
		}
	}
}

func TestShareOfATokenIsItsOwn(t *testing.T) {
	s := &Supervisor{live: map[string]*invocation{}}
	ci, cron := server.Peer{UID: 7, Holder: &server.Holder{Name: "ci"}}, server.Peer{UID: 7, Holder: &server.Holder{Name: "cron"}}
	for i, peer := range []server.Peer{ci, ci, {UID: 7, Holder: &server.Holder{Name: "ci"}}, cron, {UID: 7}, {UID: 0}} {
		s.live[string(rune('a'+i))] = &invocation{peer: peer}
	}
	for _, c := range []struct {
		peer server.Peer
		want int
	}{{ci, 3}, {cron, 1}, {server.Peer{UID: 7}, 1}, {server.Peer{UID: 8}, 0}} {
		if got := s.liveOf(c.peer); got != c.want {
			t.Errorf("%+v has %d, want %d", c.peer, got, c.want)
		}
	}
}

func TestCommandEndsWithItsCallersToken(t *testing.T) {
	r := newRig(t, options{})
	ended, other := r.start(shell("trap '' TERM; echo up; exec sleep 1000"), ""), r.start(shell("exec sleep 1000"), "")
	r.started(ended)
	r.started(other)
	ended.cancel(server.ErrTokenEnded)
	<-ended.done
	if ended.err != nil || ended.result.Reason != api.ReasonTokenEnded || ended.result.ExitCode != 137 {
		t.Errorf("%+v, %v", ended.result, ended.err)
	}
	other.cancel(server.ErrCallerGone)
	<-other.done
	if other.result.Reason != api.ReasonCallerGone {
		t.Errorf("control: %+v", other.result)
	}
}

// bookOf gives a supervisor a book of tokens.
func bookOf(t *testing.T, s *Supervisor) {
	t.Helper()
	book, err := token.Open(token.Config{Dir: t.TempDir() + "/tokens", Log: s.cfg.Log})
	check(t, err)
	t.Cleanup(func() { book.Close() })
	s.cfg.Tokens = book
}

// given has a token made, through a pipe as the server hands it on.
func given(t *testing.T, s *Supervisor, req api.TokenRequest, give func(context.Context, *api.TokenRequest, *os.File) (*api.TokensReply, error)) ([]byte, *api.TokensReply, error) {
	t.Helper()
	read, write, err := os.Pipe()
	check(t, err)
	defer read.Close()
	reply, err := give(t.Context(), &req, write)
	text, readErr := io.ReadAll(read)
	check(t, readErr) // which ends only if nothing holds the other end
	return text, reply, err
}

func TestTokenIsGivenOnceAndUsedUntilItEnds(t *testing.T) {
	s, log := admittingTokens(t)
	if _, err := s.UseToken(t.Context(), []byte("creel_")); err == nil {
		t.Error("without a book a token is good")
	}
	if _, _, err := given(t, s, api.TokenRequest{Name: "ci"}, s.CreateToken); !errors.Is(err, errNoTokens) {
		t.Errorf("without a book: %v", err)
	}
	bookOf(t, s)
	want := api.TokenRequest{Name: "ci", Policies: []string{"of-ci", "of-root"}, Life: time.Hour}
	text, reply, err := given(t, s, want, s.CreateToken)
	check(t, err)
	if row := reply.Tokens[0]; row.Name != "ci" || !slices.Equal(row.Refused, []string{"of-root"}) || row.State != api.TokenOK {
		t.Errorf("%+v", row)
	}
	holder, err := s.UseToken(t.Context(), text)
	if err != nil || holder.Name != "ci" || !slices.Equal(holder.Policies, want.Policies) {
		t.Fatalf("%+v, %v", holder, err)
	}
	if again, _, err := given(t, s, want, s.CreateToken); err == nil || len(again) != 0 {
		t.Errorf("a second one: %d bytes, %v", len(again), err)
	}
	if wider, _, err := given(t, s, want, s.RotateToken); err == nil || len(wider) != 0 {
		t.Errorf("a rotation to another scope: %d bytes, %v", len(wider), err)
	}
	if holder.Ended.Err() != nil {
		t.Error("what was refused has ended the token")
	}
	if _, err := s.RevokeTokens(t.Context(), []string{"ci"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.UseToken(t.Context(), text); !errors.Is(err, token.ErrUnknown) || holder.Ended.Err() == nil {
		t.Errorf("once revoked: %v, %v", err, holder.Ended.Err())
	}
	if strings.Contains(log.String(), string(text[6:20])) || !strings.Contains(log.String(), "an API token was made") {
		t.Errorf("logged %s", log)
	}
}

// A pipe that is full already, or that nobody reads, holds up nobody.
func TestPipeThatTakesNoTokenIsNotWaitedFor(t *testing.T) {
	s, _ := admittingTokens(t)
	bookOf(t, s)
	read, write, err := os.Pipe()
	check(t, err)
	full := make([]byte, 64<<10)
	if _, err := write.Write(full); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateToken(t.Context(), &api.TokenRequest{Name: "ci", Policies: []string{"of-ci"}, Life: time.Hour}, write); err == nil {
		t.Error("a full pipe took a token")
	}
	read.Close()
	kept, empty, err := os.Pipe()
	check(t, err)
	defer kept.Close()
	if _, err := s.CreateToken(t.Context(), &api.TokenRequest{Name: "ci", Policies: []string{"of-ci"}, Life: time.Hour}, empty); err != nil {
		t.Errorf("control: an empty one: %v", err)
	}
}

func TestDoctorTellsOfTokens(t *testing.T) {
	s, _ := admittingTokens(t)
	details := func() string {
		var all []string
		for _, f := range s.tokenFindings() {
			all = append(all, f.Level+": "+f.Detail)
		}
		return strings.Join(all, "\n")
	}
	if got := details(); got != "warning: policies name ci, cron in callers.tokens, and creel.yaml has no tokenSocket" {
		t.Errorf("without a socket: %s", got)
	}
	bookOf(t, s)
	for _, name := range []string{"ci", "cron"} {
		if got := details(); !strings.Contains(got, "there is no token "+name) {
			t.Errorf("without the token %s: %s", name, got)
		}
		_, _, err := given(t, s, api.TokenRequest{Name: name, Policies: []string{"of-both"}, Life: 20 * 24 * time.Hour}, s.CreateToken)
		check(t, err)
	}
	if got := details(); got != "ok: 2, none over or about to be" {
		t.Errorf("with both: %s", got)
	}
	_, _, err := given(t, s, api.TokenRequest{Name: "ci", Life: time.Hour}, s.RotateToken)
	check(t, err)
	_, _, err = given(t, s, api.TokenRequest{Name: "stray", Policies: []string{"of-root"}, Life: 20 * 24 * time.Hour}, s.CreateToken)
	check(t, err)
	if got := details(); !strings.Contains(got, "token ci ends on") || !strings.Contains(got, "token stray is for of-root, which does not name it") {
		t.Errorf("of one that ends soon, and of one for nothing: %s", got)
	}
}

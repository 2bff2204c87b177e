package supervisor

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/server"
	"github.com/creel-sandbox/creel/runner/token"
)

var _ server.TokenKeeper = (*Supervisor)(nil)

// errNoTokens refuses what needs a book of tokens.
var errNoTokens = &api.Error{Code: api.CodeUnsupported, Message: "this supervisor takes no tokens", ExitCode: api.ExitFailed,
	Hint: "add 'tokenSocket: {group: NAME}' to creel.yaml and restart creeld"}

// UseToken implements server.TokenKeeper. From its first use on a token is
// looked for in workspaces too.
func (s *Supervisor) UseToken(_ context.Context, shown []byte) (*server.Holder, error) {
	if s.cfg.Tokens == nil {
		return nil, errNoTokens
	}
	held, err := s.cfg.Tokens.Use(shown)
	if errors.Is(err, token.ErrUnknown) {
		return nil, err
	}
	if err != nil { // told to who holds the token
		return nil, &api.Error{Code: api.CodeDenied, Message: err.Error(), ExitCode: api.ExitFailed, Hint: "have root replace it: creel token rotate NAME"}
	}
	if made, ok := s.knownTokens.Load(held.Name); !ok || made != held.Made.UnixNano() {
		if err := s.learnToken(held.Info, shown); err != nil {
			return nil, &api.Error{Code: api.CodeInternal, Message: err.Error(), ExitCode: api.ExitFailed, Hint: "the supervisor's log may say more: journalctl -u creeld"}
		}
	}
	return &server.Holder{Name: held.Name, Policies: held.Policies, Senders: held.Senders, Channels: held.Channels, Ended: held.Ended}, nil
}

// learnToken has a token looked for in workspaces, by its needles.
func (s *Supervisor) learnToken(info token.Info, text []byte) error {
	if s.cfg.Hygiene == nil {
		return nil
	}
	needles, err := s.cfg.Keyring.Hash(text)
	if err != nil {
		return err
	}
	s.cfg.Hygiene.Learn(tokenCaller(info.Name), needles)
	s.knownTokens.Store(info.Name, info.Made.UnixNano())
	return nil
}

// CreateToken implements server.TokenKeeper.
func (s *Supervisor) CreateToken(_ context.Context, req *api.TokenRequest, to *os.File) (*api.TokensReply, error) {
	return s.giveToken(req, to, "made", func(give func([]byte) error) (token.Info, error) {
		return s.cfg.Tokens.Create(req.Name, token.Scope{Policies: req.Policies, Senders: req.Senders, Channels: req.Channels}, req.Life, give)
	})
}

// RotateToken implements server.TokenKeeper.
func (s *Supervisor) RotateToken(_ context.Context, req *api.TokenRequest, to *os.File) (*api.TokensReply, error) {
	if len(req.Policies)+len(req.Senders)+len(req.Channels) > 0 {
		to.Close()
		return nil, api.BadRequest("revoke it and create another", "a token that is rotated keeps what it is for")
	}
	return s.giveToken(req, to, "replaced", func(give func([]byte) error) (token.Info, error) {
		return s.cfg.Tokens.Rotate(req.Name, req.Life, give)
	})
}

// giveToken writes a token into the pipe of whoever asked for it, and has it
// looked for in workspaces, while it is there.
func (s *Supervisor) giveToken(req *api.TokenRequest, to *os.File, done string, change func(give func([]byte) error) (token.Info, error)) (*api.TokensReply, error) {
	defer to.Close()
	if s.cfg.Tokens == nil {
		return nil, errNoTokens
	}
	name := req.Name
	if p, shown := s.declared.Load().Policies.Shows(filepath.Clean(req.To)); shown {
		return nil, &api.Error{Code: "token", ExitCode: api.ExitFailed, Message: fmt.Sprintf("policy %s shows the file that token %.80q is to be in, %.300q, to its sandboxes", p, name, req.To),
			Hint: "keep it where no sandbox can read it; no token was made"}
	}
	info, err := change(func(text []byte) error {
		// Of no day until it is in force: the former one, if it stays, is learnt
		// again at its next use.
		if err := s.learnToken(token.Info{Name: name}, text); err != nil {
			return err
		}
		return writePipe(to, text)
	})
	if err != nil {
		return nil, tokenProblem(err, name)
	}
	s.knownTokens.Store(name, info.Made.UnixNano())
	s.cfg.Log.WithFields(map[string]any{"token": name, "policies": info.Policies, "expires": info.Expires}).Infof("an API token was %s", done)
	return &api.TokensReply{Tokens: []api.Token{s.tokenRow(info, api.TokenOK)}}, nil
}

// writePipe writes what a pipe has room for at once, or nothing (pipe(7):
// PIPE_BUF): whoever asked cannot make the supervisor wait.
func writePipe(to *os.File, text []byte) error {
	fd := int(to.Fd())
	if err := unix.SetNonblock(fd, true); err != nil {
		return err
	}
	n, err := unix.Write(fd, text)
	if err == nil && n != len(text) {
		err = errors.New("the pipe took only a part of it")
	}
	return err
}

// tokenProblem says what to do about a change of a token that was refused.
func tokenProblem(err error, name string) *api.Error {
	told := &api.Error{Code: "token", ExitCode: api.ExitFailed, Message: fmt.Sprintf("token %.80q: %v", name, err), Hint: "no token was made; mend what is named"}
	switch {
	case errors.Is(err, token.ErrExists):
		told.Hint = "`creel token rotate " + name + "` gives it another"
	case errors.Is(err, token.ErrMissing):
		told.Hint = "`creel token ls` lists those there are; `creel token create` makes one"
	case errors.Is(err, token.ErrFull):
		told.Hint = "revoke those that nobody uses: `creel token ls` says when each was used last"
	}
	return told
}

// RevokeTokens implements server.TokenKeeper. What runs for them ends.
func (s *Supervisor) RevokeTokens(_ context.Context, names []string) (*api.TokensReply, error) {
	if s.cfg.Tokens == nil {
		return nil, errNoTokens
	}
	ended, err := s.cfg.Tokens.Revoke(names...)
	reply := &api.TokensReply{Tokens: []api.Token{}}
	for _, info := range ended {
		s.cfg.Log.WithField("token", info.Name).Info("an API token was revoked")
		if s.cfg.Hygiene != nil {
			s.cfg.Hygiene.Learn(tokenCaller(info.Name), nil)
		}
		reply.Tokens = append(reply.Tokens, s.tokenRow(info, api.TokenRevoked))
	}
	if err != nil && len(ended) > 0 {
		return nil, &api.Error{Code: "token", Message: err.Error(), ExitCode: api.ExitFailed, Hint: "mend the disk, and revoke again"}
	}
	if err != nil {
		return nil, tokenProblem(err, strings.Join(names, ", "))
	}
	return reply, nil
}

// Tokens implements server.TokenKeeper.
func (s *Supervisor) Tokens(context.Context) (*api.TokensReply, error) {
	if s.cfg.Tokens == nil {
		return nil, errNoTokens
	}
	reply := &api.TokensReply{Tokens: []api.Token{}}
	for _, info := range s.cfg.Tokens.List() {
		state := api.TokenOK
		if info.Expired {
			state = api.TokenExpired
		}
		reply.Tokens = append(reply.Tokens, s.tokenRow(info, state))
	}
	return reply, nil
}

func (s *Supervisor) tokenRow(info token.Info, state string) api.Token {
	row := api.Token{Name: info.Name, State: state, Policies: info.Policies, Senders: info.Senders, Channels: info.Channels,
		Created: info.Created, Made: info.Made, Expires: info.Expires, Used: info.Used}
	policies := s.declared.Load().Policies
	for _, name := range info.Policies {
		if p, ok := policies.Get(name); !ok || !slices.Contains(p.Callers.Tokens, info.Name) {
			row.Refused = append(row.Refused, name)
		}
	}
	return row
}

// PsOf implements server.TokenKeeper: of its own sandboxes a holder sees what it
// asked for and what came of it, and of the host nothing. No engine is asked for
// it, as for an operator: it is no list of what exists, and anybody's to repeat.
func (s *Supervisor) PsOf(_ context.Context, holder *server.Holder, all bool) (*api.PsReply, error) {
	live, ended := s.remembered()
	reply := &api.PsReply{Sandboxes: []api.Sandbox{}}
	for _, inv := range of(holder, maps.Values(live)) {
		row := inv.describe()
		if usage, err := inv.usage(); err == nil {
			row.Processes = int(usage.Pids)
		}
		reply.Sandboxes = append(reply.Sandboxes, row)
	}
	if all {
		reply.Sandboxes = append(reply.Sandboxes, s.endedRows(nil, of(holder, slices.Values(ended)))...)
	}
	for i := range reply.Sandboxes {
		reply.Sandboxes[i].Pid, reply.Sandboxes[i].Leases = 0, nil
	}
	slices.SortStableFunc(reply.Sandboxes, func(a, b api.Sandbox) int { return b.Created.Compare(a.Created) })
	return reply, nil
}

// of gives those invocations that a holder asked for.
func of(holder *server.Holder, all iter.Seq[*invocation]) (own []*invocation) {
	for inv := range all {
		if idOf(inv.peer) == idOf(server.Peer{Holder: holder}) {
			own = append(own, inv)
		}
	}
	return own
}

// KillOf implements server.TokenKeeper. A sandbox of somebody else's is not
// found, as one that is not.
func (s *Supervisor) KillOf(_ context.Context, holder *server.Holder, req *api.KillRequest) (*api.KillReply, error) {
	live, _ := s.remembered()
	own := of(holder, maps.Values(live))
	targets := own
	if !req.All {
		targets = nil
		for _, id := range req.IDs {
			inv, err := among(id, own)
			if err != nil {
				return nil, err
			}
			targets = append(targets, inv)
		}
	}
	return s.signalAll(targets, req.Signal, &api.KillReply{IDs: []string{}})
}

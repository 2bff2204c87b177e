package servertest

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/server"
	"github.com/creel-sandbox/creel/runner/token/text"
)

// token is one that the host gave out, in the clear.
type token struct {
	row    api.Token
	text   []byte
	ended  context.Context
	revoke context.CancelFunc
}

// UseToken implements server.TokenKeeper.
func (h *Host) UseToken(_ context.Context, shown []byte) (*server.Holder, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, t := range h.tokens {
		if subtle.ConstantTimeCompare(shown, t.text) == 1 {
			return &server.Holder{Name: name, Policies: t.row.Policies, Senders: t.row.Senders, Channels: t.row.Channels, Ended: t.ended}, nil
		}
	}
	return nil, errors.New("there is no such token")
}

// CreateToken implements server.TokenKeeper.
func (h *Host) CreateToken(_ context.Context, req *api.TokenRequest, to *os.File) (*api.TokensReply, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tokens[req.Name] != nil {
		to.Close()
		return nil, &api.Error{Code: "token", Message: "there is a token " + req.Name}
	}
	return h.give(req, to)
}

// RotateToken implements server.TokenKeeper.
func (h *Host) RotateToken(_ context.Context, req *api.TokenRequest, to *os.File) (*api.TokensReply, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.tokens[req.Name]
	if old == nil {
		to.Close()
		return nil, &api.Error{Code: "token", Message: "there is no token " + req.Name}
	}
	old.revoke()
	return h.give(req, to)
}

// give needs the lock.
func (h *Host) give(req *api.TokenRequest, to *os.File) (*api.TokensReply, error) {
	defer to.Close()
	var random [text.RandomBytes]byte
	rand.Read(random[:]) // never fails (crypto/rand)
	day := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	t := &token{text: text.Append(nil, &random), row: api.Token{Name: req.Name, State: api.TokenOK, Policies: req.Policies,
		Senders: req.Senders, Channels: req.Channels, Created: day, Made: day, Expires: day.Add(req.Life)}}
	t.ended, t.revoke = context.WithCancel(context.Background())
	if _, err := to.Write(t.text); err != nil {
		return nil, fmt.Errorf("hand over token: %w", err)
	}
	if h.tokens == nil {
		h.tokens = map[string]*token{}
	}
	h.tokens[req.Name] = t
	return &api.TokensReply{Tokens: []api.Token{t.row}}, nil
}

// RevokeTokens implements server.TokenKeeper.
func (h *Host) RevokeTokens(_ context.Context, names []string) (*api.TokensReply, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	reply := &api.TokensReply{Tokens: []api.Token{}}
	for _, name := range names {
		if h.tokens[name] == nil {
			return nil, &api.Error{Code: "token", Message: "there is no token " + name}
		}
		h.tokens[name].revoke()
		reply.Tokens = append(reply.Tokens, h.tokens[name].row)
		delete(h.tokens, name)
	}
	return reply, nil
}

// Tokens implements server.TokenKeeper.
func (h *Host) Tokens(context.Context) (*api.TokensReply, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	reply := &api.TokensReply{Tokens: []api.Token{}}
	for _, name := range slices.Sorted(maps.Keys(h.tokens)) {
		reply.Tokens = append(reply.Tokens, h.tokens[name].row)
	}
	return reply, nil
}

// PsOf implements server.TokenKeeper.
func (h *Host) PsOf(ctx context.Context, holder *server.Holder, all bool) (*api.PsReply, error) {
	reply, err := h.Ps(ctx, all)
	if err == nil {
		reply.Sandboxes = slices.DeleteFunc(reply.Sandboxes, func(s api.Sandbox) bool { return s.Caller != "token:"+holder.Name })
	}
	return reply, err
}

// KillOf implements server.TokenKeeper.
func (h *Host) KillOf(ctx context.Context, holder *server.Holder, req *api.KillRequest) (*api.KillReply, error) {
	own, err := h.PsOf(ctx, holder, false)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, s := range own.Sandboxes {
		if req.All || slices.Contains(req.IDs, s.ID) {
			ids = append(ids, s.ID)
		}
	}
	if !req.All && len(ids) < len(req.IDs) {
		return nil, &api.Error{Code: "unknown-sandbox", Message: "there is no such sandbox"}
	}
	return h.Kill(ctx, &api.KillRequest{IDs: ids, Signal: req.Signal})
}

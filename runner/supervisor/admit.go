package supervisor

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/engine"
	"github.com/creel-sandbox/creel/runner/server"
)

// admit decides whether the peer may run what it asks for, and makes the
// invocation. The peer's uid is the kernel's word (SO_PEERCRED, unix(7)), and
// its holder that of the book of tokens.
func (s *Supervisor) admit(peer server.Peer, req *api.ExecRequest, stdio server.Stdio) (*invocation, error) {
	declared := s.declared.Load()
	p, err := s.choosePolicy(declared, peer, req.Policy)
	if err != nil {
		return nil, err
	}
	if err := s.checkOrigin(p, peer, req); err != nil {
		return nil, err
	}
	return s.prepare(declared, p, peer, req, stdio)
}

// prepare makes the invocation of a policy, if it can have one.
func (s *Supervisor) prepare(declared *Declared, p *policy.Policy, peer server.Peer, req *api.ExecRequest, stdio server.Stdio) (*invocation, error) {
	if err := checkReview(p, declared.Config.Strict); err != nil {
		return nil, err
	}
	if err := checkRequest(req, p); err != nil {
		return nil, err
	}
	engine, made, err := s.engineOf(declared, p)
	if err != nil {
		return nil, err
	}
	filter, err := declared.FilterOf(p)
	if err != nil {
		return nil, err
	}
	who, err := s.users.identify(p.User)
	if err != nil {
		return nil, &api.Error{Code: "bad-policy", Message: fmt.Sprintf("policy %s: %v", p.Name, err), ExitCode: api.ExitFailed,
			Hint: "create the user, or name another in 'user:'"}
	}
	return &invocation{
		id: newID(), peer: peer, caller: s.callerOf(peer), command: commandLine(req.Argv), req: req, policy: p, engine: engine, made: made, filter: filter,
		who: who, created: time.Now(), stdio: stdio, state: stateCreating,
		logs: newTail(p.Logs.Keep), cancel: func() {}, abandoned: make(chan struct{}),
	}, nil
}

func (s *Supervisor) choosePolicy(declared *Declared, peer server.Peer, name string) (*policy.Policy, error) {
	p, ok := declared.Policies.Get(name)
	if ok && s.mayCall(p, peer) {
		return p, nil
	}
	// Whether a policy exists is told only to those who may run it.
	var allowed []string
	for other, p := range declared.Policies.All() {
		if s.mayCall(p, peer) {
			allowed = append(allowed, other)
		}
	}
	whom := "user " + s.callerOf(peer)
	hint := fmt.Sprintf("add %q to callers.users of the policy and reload", s.callerOf(peer))
	if peer.Holder != nil {
		whom = "the token " + peer.Holder.Name
		hint = fmt.Sprintf("a token is for the policies that it was made for, and that have %q in callers.tokens", peer.Holder.Name)
	}
	if len(allowed) > 0 {
		hint = "you may run: " + strings.Join(allowed, ", ")
	}
	return nil, &api.Error{Code: api.CodeDenied, ExitCode: api.ExitFailed, Hint: hint,
		Message: fmt.Sprintf("policy %q: not one that %s may run", name, whom)}
}

// checkOrigin refuses a command for somebody, or from somewhere, that the
// policy or the caller's token does not list, and one whose caller does not say
// for whom. That the caller says it truly is what callers trusts it with. The
// caller is told nothing that would help to find out who is listed; the log is.
func (s *Supervisor) checkOrigin(p *policy.Policy, peer server.Peer, req *api.ExecRequest) error {
	type rule struct {
		of, key, got string
		listed       []string
	}
	rules := []rule{
		{"callers.senders of the policy", "sender", req.Sender, p.Callers.Senders}, {"callers.channels of the policy", "channel", req.Channel, p.Callers.Channels},
	}
	if h := peer.Holder; h != nil {
		rules = append(rules, rule{"its token", "sender", req.Sender, h.Senders}, rule{"its token", "channel", req.Channel, h.Channels})
	}
	for _, r := range rules {
		if len(r.listed) == 0 || slices.Contains(r.listed, r.got) {
			continue
		}
		s.cfg.Log.WithFields(logrus.Fields{
			"policy": p.Name, "caller": s.callerOf(peer), "session": req.Session, "sender": req.Sender, "channel": req.Channel, "call": req.Call,
		}).Warnf("refused a command: %s does not list its %s", r.of, r.key)
		return &api.Error{Code: api.CodeDenied, Message: "refused", ExitCode: api.ExitFailed}
	}
	return nil
}

// engineOf gives the engine of a policy, where this host has it.
func (s *Supervisor) engineOf(declared *Declared, p *policy.Policy) (engine.Engine, policy.Engine, error) {
	name := declared.EngineOf(p)
	e, ok := s.cfg.Engines[name]
	if !ok {
		return nil, name, &api.Error{Code: "no-engine", ExitCode: api.ExitFailed, Hint: "creel doctor tells what it lacks",
			Message: fmt.Sprintf("policy %s: this host has no %s engine", p.Name, name)}
	}
	return e, name, nil
}

// Policies implements server.PolicyLister: those the peer may run.
func (s *Supervisor) Policies(_ context.Context, peer server.Peer) (*api.PolicyReply, error) {
	declared := s.declared.Load()
	reply := &api.PolicyReply{}
	for name, p := range declared.Policies.All() {
		if s.mayCall(p, peer) {
			reply.Policies = append(reply.Policies, name)
		}
	}
	return reply, nil
}

// mayCall says whether a policy is one of a caller's. Of a token, both name each
// other; whose user has shown it counts for nothing.
func (s *Supervisor) mayCall(p *policy.Policy, peer server.Peer) bool {
	if h := peer.Holder; h != nil {
		return slices.Contains(h.Policies, p.Name) && slices.Contains(p.Callers.Tokens, h.Name)
	}
	return slices.ContainsFunc(p.Callers.Users, func(name string) bool {
		id, ok := s.users.uid(name)
		return ok && id == peer.UID
	})
}

func checkReview(p *policy.Policy, strict bool) error {
	for _, problem := range p.Review(time.Now(), strict) {
		if problem.Severity == policy.SeverityError {
			return &api.Error{Code: "bad-policy", Message: "policy " + p.Name + ": " + problem.Message,
				Hint: problem.Hint, ExitCode: api.ExitFailed}
		}
	}
	return nil
}

// checkRequest refuses what only the policy makes wrong; what no execve(2)
// could take the server has refused already.
func checkRequest(req *api.ExecRequest, p *policy.Policy) error {
	if clean := path.Clean(req.Cwd); clean == "/proc" || strings.HasPrefix(clean, "/proc/") { // CVE-2024-21626
		return api.BadRequest("choose a directory of the workspace", "cwd %q: is inside /proc", req.Cwd)
	}
	return checkCallerEnv(req.Env, p)
}

// checkCallerEnv refuses variables that no policy may set either, because
// the command would run what its argv, and so the receipt, does not name
// (LD_PRELOAD, NODE_OPTIONS), and those that the policy has given a value.
func checkCallerEnv(env [][]byte, p *policy.Policy) error {
	for _, entry := range env {
		name, _, _ := strings.Cut(string(entry), "=")
		if err := policy.CheckEnvName(name); err != nil {
			return api.BadRequest("leave it out, or set it inside the command, where the receipt shows it", "environment: %v", err)
		}
		fixed := slices.ContainsFunc(p.Env, func(v policy.EnvVar) bool { return v.Name == name }) ||
			slices.ContainsFunc(p.Credentials, func(c policy.Credential) bool { return c.Env == name })
		if fixed {
			return api.BadRequest("leave it out", "environment variable %s: is fixed by policy %s", name, p.Name)
		}
	}
	return nil
}

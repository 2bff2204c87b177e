package supervisor

import (
	"context"
	"fmt"
	"os"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/credential"
	"github.com/creel-sandbox/creel/runner/server"
)

var _ server.CanaryPlanter = (*Supervisor)(nil)

// ExecCanary implements server.CanaryPlanter: Exec, but for where the values
// of the policy's credentials are from. Everything that a real value passes
// through, a canary does.
func (s *Supervisor) ExecCanary(ctx context.Context, peer server.Peer, req *api.CanaryRequest, stdio server.Stdio,
	control <-chan api.Control, started func(id string)) (*api.Result, error) {
	defer s.lull.enter()()
	inv, err := s.admitCanary(peer, req, stdio)
	if err == nil {
		s.cfg.Log.WithFields(map[string]any{"policy": req.Policy, "uid": peer.UID}).
			Warn("running a command with canaries in place of its policy's credentials")
	}
	return s.run(ctx, inv, err, peer, stdio, control, started)
}

// admitCanary is admit for root, who is no caller of the policy: what callers
// are kept from, its credentials, the command does not get.
func (s *Supervisor) admitCanary(peer server.Peer, req *api.CanaryRequest, stdio server.Stdio) (*invocation, error) {
	declared := s.declared.Load()
	p, err := credentialed(declared, req.Policy)
	if err != nil {
		return nil, err
	}
	inv, err := s.prepare(declared, p, peer, &req.ExecRequest, stdio)
	if err != nil {
		return nil, err
	}
	inv.canary = req.Canary
	return inv, nil
}

// credentialed is a policy that has a place for a canary.
func credentialed(declared *Declared, name string) (*policy.Policy, error) {
	p, ok := declared.Policies.Get(name)
	if !ok {
		return nil, &api.Error{Code: "not-found", Message: fmt.Sprintf("there is no policy %.100q", name), ExitCode: api.ExitFailed,
			Hint: "creel policy check tells why a file is not in force"}
	}
	if p.Kind == policy.KindAgent {
		return nil, &api.Error{Code: api.CodeBadRequest, Message: "policy " + p.Name + " is an Agent, in which no command is run", ExitCode: api.ExitFailed,
			Hint: "name a policy of kind Policy that has the same credentials"}
	}
	if len(p.Credentials) == 0 {
		return nil, &api.Error{Code: api.CodeBadRequest, Message: "policy " + p.Name + " has no credentials, so there is nothing to plant", ExitCode: api.ExitFailed,
			Hint: "name a policy that has 'credentials:'"}
	}
	return p, nil
}

// plantCanaries stands for the fetching of credentials: no provider is asked,
// no lease is made, and what was made ahead for the sandbox is not used.
func plantCanaries(inv *invocation) (err error) {
	inv.prefetch.drop()
	if inv.secrets, err = credential.Canaries(inv.canary, inv.policy.Credentials); err != nil {
		return &api.Error{Code: "credential", Message: err.Error(), ExitCode: api.ExitFailed, Hint: "the command was not run; creel doctor tells what this host lacks"}
	}
	return nil
}

// Places implements server.CanaryPlanter.
func (s *Supervisor) Places(_ context.Context, name string) (*api.PlacesReply, error) {
	declared := s.declared.Load()
	p, err := credentialed(declared, name)
	if err != nil {
		return nil, err
	}
	c := declared.Config
	reply := &api.PlacesReply{
		Pid: os.Getpid(), Engine: string(declared.EngineOf(p)), Variables: []string{}, Mounts: []string{},
		Directories: []string{c.RuntimeDir, c.StateDir, c.AuditDir, c.ImageDir},
	}
	for _, credential := range p.Credentials {
		reply.Variables = append(reply.Variables, credential.Env)
	}
	for _, mount := range p.Mounts {
		if mount.Writable {
			reply.Mounts = append(reply.Mounts, mount.Source)
		}
	}
	return reply, nil
}

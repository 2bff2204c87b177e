package supervisor

import (
	"context"
	"fmt"
	"slices"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/hygiene"
)

// CheckWorkspaces implements server.WorkspaceChecker: a policy that need not be
// in force has its workspaces searched, for the values that all policies and
// this one could be given. What it finds is told, and changes nothing for the
// policies in force.
func (s *Supervisor) CheckWorkspaces(ctx context.Context, req *api.CheckRequest) (*api.CheckReply, error) {
	if s.cfg.Hygiene == nil {
		return nil, &api.Error{Code: api.CodeUnsupported, Message: "this supervisor searches no workspaces"}
	}
	of, problems := policy.Parse(req.File, req.Policy)
	if of == nil {
		return nil, api.BadRequest("creel policy check of the same version as creeld tells all of them", "%s", problems[0])
	}
	if of.Hygiene == nil { // whoever asks wants to know
		of.Hygiene = &policy.Hygiene{Secrets: policy.HygieneWarn}
	}
	who, err := s.users.identify(of.User)
	if err != nil {
		return nil, unsearched(of.Name, err)
	}
	inForce := s.declared.Load().credentials()
	if err := s.learner.keep(ctx, inForce); err != nil {
		return nil, unsearched(of.Name, err)
	}
	further, err := s.learner.further(ctx, of.Credentials, inForce)
	if err != nil {
		return nil, unsearched(of.Name, err)
	}
	result, err := s.cfg.Hygiene.Once(ctx, hygiene.Subject{Policy: of, UID: who.UID, GID: who.GID}, further)
	if err != nil {
		return nil, unsearched(of.Name, err)
	}
	reply := &api.CheckReply{Findings: result.Findings, Uncovered: result.Uncovered, Compared: len(result.Values), Count: api.CheckCount(result.Count)}
	for _, c := range slices.Concat(inForce, of.Credentials) {
		if !slices.Contains(result.Values, source(c)) && !slices.Contains(reply.Unknown, source(c)) {
			reply.Unknown = append(reply.Unknown, source(c))
		}
	}
	slices.Sort(reply.Unknown)
	return reply, nil
}

func unsearched(name string, err error) *api.Error {
	return &api.Error{Code: "hygiene", ExitCode: api.ExitFailed,
		Message: fmt.Sprintf("policy %s: its workspaces could not be searched for credentials: %v", name, err)}
}

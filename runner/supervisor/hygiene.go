package supervisor

import (
	"context"
	"fmt"
	"strings"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/hygiene"
	"github.com/creel-sandbox/creel/runner/rootfs"
)

// searchWorkspaces has the workspaces of a policy searched for credentials
// before its command starts, where it asks for that. A search that fails, or
// that could not cover something, counts as one that found something.
func (s *Supervisor) searchWorkspaces(ctx context.Context, inv *invocation) error {
	if inv.policy.Hygiene == nil {
		return nil
	}
	_, told := s.search(ctx, inv.policy, inv.who)
	if told == nil {
		return nil
	}
	log := s.cfg.Log.WithField("sandbox", inv.id).WithField("policy", inv.policy.Name).WithField("details", told.Details)
	if inv.policy.Hygiene.Secrets == policy.HygieneWarn {
		log.Warn(told.Message)
		return nil
	}
	return told
}

// searchLater has what a command wrote searched before the next one needs it.
func (s *Supervisor) searchLater(inv *invocation) {
	if inv.policy.Hygiene != nil && !inv.launched.IsZero() {
		s.cfg.Hygiene.Ended(hygiene.Subject{Policy: inv.policy, UID: inv.who.UID, GID: inv.who.GID})
	}
}

// search has a policy's workspaces searched, and remembers for ps what is wrong
// with them.
func (s *Supervisor) search(ctx context.Context, p *policy.Policy, who rootfs.Identity) (*hygiene.Result, *api.Error) {
	var result *hygiene.Result
	err := s.learner.keep(ctx, s.declared.Load().credentials())
	if err == nil {
		result, err = s.cfg.Hygiene.Check(ctx, hygiene.Subject{Policy: p, UID: who.UID, GID: who.GID})
	}
	told := foul(p.Name, result, err)
	if told == nil {
		s.foul.Delete(p.Name)
	} else {
		s.foul.Store(p.Name, told.Message)
	}
	return result, told
}

// maxTold bounds the findings that an error lists.
const maxTold = 20

// foul says what is wrong with a policy's workspaces, or nil.
func foul(name string, result *hygiene.Result, err error) *api.Error {
	told := &api.Error{Code: "hygiene", ExitCode: api.ExitFailed, Hint: "creel doctor tells all, and so does creel policy check, as root"}
	switch {
	case err != nil:
		told.Message = unsearched(name, err).Message
	case len(result.Findings) > 0:
		told.Message = fmt.Sprintf("policy %s: there are credentials where its sandbox can read them: %s", name, result.Findings[0])
		told.Hint = "take them out, of the Git history too, and make new ones in their place; what is no credential in use can be listed in hygiene.allow"
	case len(result.Uncovered) > 0:
		told.Message = fmt.Sprintf("policy %s: not all of its workspaces could be searched for credentials: %s", name, result.Uncovered[0])
	default:
		return nil
	}
	if result != nil {
		told.Details = append(result.Findings, result.Uncovered...)
		if more := len(told.Details) - maxTold; more > 0 {
			told.Details = append(told.Details[:maxTold], fmt.Sprintf("and %d more", more))
		}
	}
	return told
}

// hygieneNotices say what the last search of each policy's workspaces found.
func (s *Supervisor) hygieneNotices() []string {
	declared := s.declared.Load()
	var notices []string
	for name, of := range declared.Policies.All() {
		if told, ok := s.foul.Load(name); ok && of.Hygiene != nil {
			notices = append(notices, told.(string))
		}
	}
	return notices
}

// hygieneFindings tell of the workspaces of each policy that has them searched.
func (s *Supervisor) hygieneFindings(ctx context.Context) []api.Finding {
	ctx, cancel := context.WithTimeoutCause(ctx, examineTimeout, fmt.Errorf("no answer within %s", examineTimeout))
	defer cancel()
	declared := s.declared.Load()
	var findings []api.Finding
	for name, of := range declared.Policies.All() {
		if of.Hygiene == nil {
			continue
		}
		finding := api.Finding{Name: "workspaces of " + name, Level: levelError}
		who, err := s.users.identify(of.User)
		if err != nil {
			finding.Detail = err.Error()
			findings = append(findings, finding)
			continue
		}
		result, told := s.search(ctx, of, who)
		switch {
		case told == nil:
			finding.Level = levelOK
			finding.Detail = fmt.Sprintf("no credential in %d files, and none in the Git objects among them", result.Count.Files)
		case result == nil:
			finding.Detail = told.Message
		default:
			finding.Detail, finding.Hint = strings.Join(told.Details, "; "), told.Hint
		}
		if told != nil && of.Hygiene.Secrets == policy.HygieneWarn {
			finding.Level = levelWarning
		}
		findings = append(findings, finding)
	}
	return findings
}

// beginHygiene has everything that policies ask for searched ahead of their
// commands, and forgets what none asks for.
func (s *Supervisor) beginHygiene() {
	if s.cfg.Hygiene == nil {
		return
	}
	declared := s.declared.Load()
	var subjects []hygiene.Subject
	for _, of := range declared.Policies.All() {
		if of.Hygiene == nil {
			continue
		}
		if who, err := s.users.identify(of.User); err == nil { // or else the launch says so
			subjects = append(subjects, hygiene.Subject{Policy: of, UID: who.UID, GID: who.GID})
		}
	}
	if err := s.cfg.Hygiene.Keep(subjects); err != nil {
		s.cfg.Log.WithError(err).Warn("forgetting former searches failed")
	}
	if len(subjects) > 0 {
		if err := s.learner.keep(context.Background(), declared.credentials()); err != nil {
			s.cfg.Log.WithError(err).Warn("a credential is not looked for in workspaces yet") // a launch is refused by it
		}
	}
	for _, of := range subjects {
		s.cfg.Hygiene.Begin(of)
	}
}

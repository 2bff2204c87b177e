package supervisor

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/advisory"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/engine"
)

// mendEngine says what to do about an engine that does not answer.
var mendEngine = map[policy.Engine]string{
	policy.EngineOCI:    "apt-get install crun",
	policy.EngineDocker: "systemctl start docker, or name its socket as dockerSocket in creel.yaml",
}

// engineFindings tell of each engine whether it answers, what it is made of,
// and which published holes that has. A hole is a warning, since how much it
// matters is the operator's to judge, and never keeps a sandbox from starting.
// The policies of an engine that does not answer are told with it.
func (s *Supervisor) engineFindings(ctx context.Context) []api.Finding {
	var findings []api.Finding
	users := s.engineUsers()
	for _, name := range []policy.Engine{policy.EngineOCI, policy.EngineDocker} {
		health, err := s.examine(ctx, name)
		first := api.Finding{Name: "engine " + string(name), Level: levelOK}
		switch {
		case err == nil:
			first.Detail = health.Version
		case len(users[name]) == 0:
			first.Detail = err.Error() + "; no policy uses it"
		default:
			first.Level, first.Hint = levelError, mendEngine[name]
			first.Detail = fmt.Sprintf("%v; it is used by %s", err, strings.Join(users[name], ", "))
		}
		findings = append(findings, first)
		if err == nil {
			findings = append(findings, healthFindings(name, health)...)
			findings = append(findings, s.policyFindings(ctx, users[name])...)
		}
	}
	return findings
}

// engineUsers lists the policies of each engine.
func (s *Supervisor) engineUsers() map[policy.Engine][]string {
	declared := s.declared.Load()
	users := map[policy.Engine][]string{}
	for name, p := range declared.Policies.All() {
		chosen := declared.EngineOf(p)
		users[chosen] = append(users[chosen], name)
	}
	return users
}

func (s *Supervisor) examine(ctx context.Context, name policy.Engine) (*engine.Health, error) {
	e, ok := s.cfg.Engines[name]
	if !ok {
		return nil, errors.New("not opened: this host has none that creel can use")
	}
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	health, err := e.Examine(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("no answer within %v: %w", versionTimeout, err)
	}
	return health, err
}

func healthFindings(name policy.Engine, health *engine.Health) []api.Finding {
	var findings []api.Finding
	for _, note := range health.Notes {
		level := levelOK
		if note.Warning {
			level = levelWarning
		}
		findings = append(findings, api.Finding{Name: string(name) + " " + note.About, Level: level, Detail: note.Found, Hint: note.Hint})
	}
	for _, build := range health.Builds {
		for _, finding := range advisoryFindings(build) {
			finding.Name = string(name) + " " + finding.Name
			findings = append(findings, finding)
		}
	}
	return findings
}

// advisoryFindings gives a finding for each hole that is open, one for those
// of which the version does not tell, and one for the rest.
func advisoryFindings(build advisory.Build) []api.Finding {
	var findings []api.Finding
	var unknown, fixed, unused []string
	for _, f := range advisory.Check(build) {
		switch {
		case f.Unused != "" && f.State != advisory.Fixed:
			unused = append(unused, fmt.Sprintf("%s (%s)", f.CVE, f.Unused))
		case f.State == advisory.Open:
			findings = append(findings, api.Finding{Name: f.CVE, Level: levelWarning,
				Detail: fmt.Sprintf("%s has it: %s", build, f.About), Hint: mendHole(build, f)})
		case f.State == advisory.Unknown:
			unknown = append(unknown, f.CVE)
		default:
			fixed = append(fixed, f.CVE)
		}
	}
	if len(unknown) > 0 {
		findings = append(findings, api.Finding{Name: "advisories", Level: levelWarning,
			Detail: fmt.Sprintf("the version of %s does not tell whether it has %s", build, strings.Join(unknown, ", ")),
			Hint:   "ask the distribution, such as security-tracker.debian.org or ubuntu.com/security/cves"})
	}
	if len(fixed) > 0 {
		findings = append(findings, api.Finding{Name: "advisories", Level: levelOK,
			Detail: fmt.Sprintf("%s has the fix of %s", build, strings.Join(fixed, ", "))})
	}
	if len(unused) > 0 {
		findings = append(findings, api.Finding{Name: "advisories", Level: levelOK,
			Detail: fmt.Sprintf("%s may have %s", build, strings.Join(unused, ", "))})
	}
	return findings
}

func mendHole(build advisory.Build, f advisory.Finding) string {
	hint := fmt.Sprintf("fixed in %s %s", build.Runtime, strings.Join(f.FixedIn, ", "))
	switch {
	case f.Package != "":
		hint += fmt.Sprintf(" and in package %s (%s)", f.Package, f.Source)
	case build.Package != "":
		hint += "; of a fixed package of this distribution nothing is known here"
	}
	if f.Spared != "" {
		hint += "; " + f.Spared
	}
	return hint
}

// policyFindings tell of each policy whether its engine would make its
// sandboxes, by having it prepare them, as the next invocation would.
func (s *Supervisor) policyFindings(ctx context.Context, names []string) []api.Finding {
	var findings []api.Finding
	declared := s.declared.Load()
	for _, name := range names {
		finding := api.Finding{Name: "policy " + name, Level: levelOK}
		p, ok := declared.Policies.Get(name)
		if !ok {
			continue // removed since
		}
		chosen, err := s.tryPolicy(ctx, declared, p)
		if err == nil {
			finding.Detail = "its sandboxes can be made, by " + string(chosen)
		} else {
			told := explain(&invocation{policy: p}, err)
			finding.Level, finding.Detail = levelError, told.Message
			if told.Code != "launch-failed" { // whose hint is to ask the doctor
				finding.Hint = told.Hint
			}
		}
		findings = append(findings, finding)
	}
	return findings
}

func (s *Supervisor) tryPolicy(ctx context.Context, declared *Declared, p *policy.Policy) (policy.Engine, error) {
	e, chosen, err := s.engineOf(declared, p)
	if err != nil {
		return chosen, err
	}
	who, err := s.users.identify(p.User)
	if err != nil {
		return chosen, err
	}
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	root, err := e.Prepare(ctx, p, who)
	if err != nil {
		return chosen, err
	}
	return chosen, root.Release()
}

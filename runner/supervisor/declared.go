package supervisor

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/profiles"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/seccomp"
)

// Declared is one consistent reading of everything an operator declares.
type Declared struct {
	Config   *policy.Config
	Policies *policy.Set
	// Filters holds the compiled second filter of each policy, by its name.
	Filters map[string][]byte
}

// EngineOf is the engine that a policy chooses, or else creel.yaml.
func (d *Declared) EngineOf(p *policy.Policy) policy.Engine { return cmp.Or(p.Engine, d.Config.Engine) }

// Loader reads everything anew. An error says what is wrong with which file;
// then nothing of the new reading is used.
type Loader func() (*Declared, error)

// FilterOf is the compiled second filter of a policy of this reading. It is
// never empty: a command without one would run with the floor alone.
func (d *Declared) FilterOf(p *policy.Policy) ([]byte, error) {
	filter := d.Filters[p.Name]
	if len(filter) == 0 {
		return nil, &api.Error{Code: "bad-policy", Message: "policy " + p.Name + ": its seccomp filter is missing", ExitCode: api.ExitFailed,
			Hint: "reload; creel policy check tells what is wrong with a file"}
	}
	return filter, nil
}

// ProblemsError is a set of declared files that cannot be used.
type ProblemsError []policy.Problem

// Error lists every problem, one a line.
func (e ProblemsError) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// CompileFilters compiles the second seccomp filter of every policy, so that
// a launch does not have to and a profile that does not compile is found
// when it is declared.
func CompileFilters(set *policy.Set) (map[string][]byte, error) {
	filters, compiled := map[string][]byte{}, map[string][]byte{}
	for name, p := range set.All() {
		program, ok := compiled[p.Seccomp]
		if !ok {
			var err error
			if program, err = compile(p.Seccomp); err != nil {
				return nil, fmt.Errorf("policy %s: %w", name, err)
			}
			compiled[p.Seccomp] = program
		}
		filters[name] = program
	}
	return filters, nil
}

func compile(name string) ([]byte, error) {
	data, ok := profiles.Seccomp(name)
	if strings.HasPrefix(name, "/") {
		var err error
		if data, err = os.ReadFile(name); err != nil {
			return nil, fmt.Errorf("read seccomp profile: %w", err)
		}
	} else if !ok {
		return nil, fmt.Errorf("seccomp profile %q: unknown; known are %s", name, strings.Join(profiles.SeccompNames(), ", "))
	}
	profile, err := seccomp.Parse(name, data)
	if err != nil {
		return nil, fmt.Errorf("read seccomp profile %s: %w", name, err)
	}
	program, err := seccomp.Compile(profile)
	if err != nil {
		return nil, fmt.Errorf("compile seccomp profile %s: %w", name, err)
	}
	return program, nil
}

// Reload reads everything anew. When that fails the last good reading stays
// in force, and the doctor and ps say so until a reload succeeds.
func (s *Supervisor) Reload() error {
	s.users.forget()
	declared, err := s.cfg.Load()
	if err != nil {
		notice := "the configuration on disk is not in force; the last good one is: " + err.Error()
		s.notice.Store(&notice)
		return err
	}
	s.publishAgents(declared)
	s.declared.Store(declared)
	s.notice.Store(nil)
	s.reviewSecrets()
	s.reviewSessions()
	s.stock()
	s.declareAgents()
	s.lookForRotations(context.Background())
	s.beginHygiene()
	for name, engine := range s.cfg.Engines {
		if err := engine.Keep(declared.Policies.Names()); err != nil {
			s.cfg.Log.WithField("engine", name).WithError(err).Warn("dropping the root of a policy that is gone failed")
		}
	}
	return nil
}

// notices are what an operator must be told with every list.
func (s *Supervisor) notices() []string {
	if notice := s.notice.Load(); notice != nil {
		return []string{*notice}
	}
	return nil
}

// Admins are the uids that creel.yaml names besides root. A name that is no
// user of this host admits nobody.
func (s *Supervisor) Admins() []uint32 {
	var uids []uint32
	for _, name := range s.declared.Load().Config.Admins {
		if uid, ok := s.users.uid(name); ok {
			uids = append(uids, uid)
		}
	}
	return uids
}

package supervisor

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/creel-sandbox/creel/runner/api"
)

// waiting are the sandboxes of the pool.
func (s *Supervisor) waiting() map[string]*invocation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.warm)
}

func (s *Supervisor) remembered() (live map[string]*invocation, ended []*invocation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.live), slices.Clone(s.ended)
}

// find resolves the name of an agent, which means the sandbox that it has, or
// else an ID or a unique prefix among live invocations; both among ended ones
// too when those are wanted. A declared name comes first: what an operator says
// of an agent must not reach a sandbox whose ID happens to begin so.
func (s *Supervisor) find(word string, withEnded bool) (*invocation, error) {
	if a := s.agents.get(word); a != nil {
		return a.sandbox(withEnded)
	}
	live, ended := s.remembered()
	all := slices.AppendSeq(slices.Collect(maps.Values(live)), maps.Values(s.waiting()))
	if withEnded {
		all = append(all, ended...)
	}
	return among(word, all)
}

// sandbox gives the one that the agent has, or else the one that it had last,
// when that is wanted.
func (a *agent) sandbox(orLast bool) (*invocation, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.inv != nil:
		return a.inv, nil
	case orLast && a.last != nil:
		return a.last, nil
	}
	return nil, &api.Error{Code: "not-found", Message: fmt.Sprintf("agent %s has no sandbox: it is %s", a.name, a.state),
		Hint: "creel ps tells why; creel agent start " + a.name + " starts one that was stopped or stays down", ExitCode: 1}
}

// among resolves an ID or a unique prefix among some.
func among(prefix string, all []*invocation) (*invocation, error) {
	var found []*invocation
	for _, inv := range all {
		if strings.HasPrefix(inv.id, prefix) {
			found = append(found, inv)
		}
	}
	switch {
	case prefix == "" || len(found) == 0:
		return nil, &api.Error{Code: "not-found", Message: fmt.Sprintf("no such sandbox: %q", prefix),
			Hint: "creel ps -a lists them", ExitCode: 1}
	case len(found) > 1:
		return nil, &api.Error{Code: "ambiguous", Message: fmt.Sprintf("more than one sandbox begins with %q", prefix),
			Hint: "give more of the ID", ExitCode: 1}
	}
	return found[0], nil
}

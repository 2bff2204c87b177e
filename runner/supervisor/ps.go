package supervisor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/cgroup"
)

// Ps implements server.Backend. The rows are what the engine and the kernel
// have; what the supervisor remembers only adds to them.
func (s *Supervisor) Ps(ctx context.Context, all bool) (*api.PsReply, error) {
	existing, err := s.list(ctx)
	if err != nil {
		return nil, err
	}
	live, ended := s.remembered()
	warm := s.waiting()
	reply := &api.PsReply{Sandboxes: []api.Sandbox{}, Agents: s.agents.rows(), Notices: slices.Concat(s.notices(), s.leaseNotices(), s.hygieneNotices())}
	for _, f := range existing {
		pids, err := f.Group.Procs()
		if err != nil && !errors.Is(err, cgroup.ErrNotFound) {
			return nil, err
		}
		row := api.Sandbox{ID: f.ID, State: "orphan", Engine: string(f.engine)}
		if inv := live[f.ID]; inv != nil {
			row = inv.describe()
			delete(live, f.ID)
		} else if w := warm[f.ID]; w != nil {
			row = w.describe()
		} else if len(pids) == 0 {
			continue // ended since it was listed
		}
		row.Processes = len(pids)
		reply.Sandboxes = append(reply.Sandboxes, row)
	}
	if all {
		reply.Sandboxes = append(reply.Sandboxes, s.endedRows(live, ended)...)
	}
	slices.SortStableFunc(reply.Sandboxes, func(a, b api.Sandbox) int { return b.Created.Compare(a.Created) })
	return reply, nil
}

// endedRows are the ended invocations: those of which nothing is left, and
// those not listed as live any more whose caller has been told.
func (s *Supervisor) endedRows(unlisted map[string]*invocation, ended []*invocation) []api.Sandbox {
	var rows []api.Sandbox
	for _, inv := range slices.AppendSeq(ended, maps.Values(unlisted)) {
		if row := inv.describe(); row.Result != nil {
			row.State = "ended"
			rows = append(rows, row)
		}
	}
	return rows
}

// waiting are the sandboxes of the pool.
func (s *Supervisor) waiting() map[string]*invocation {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.warm)
}

func (s *Supervisor) remembered() (live map[string]*invocation, ended []*invocation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	live = make(map[string]*invocation, len(s.live))
	for id, inv := range s.live {
		live[id] = inv
	}
	return live, slices.Clone(s.ended)
}

// find resolves an ID or a unique prefix among live invocations, and then
// among ended ones when those are wanted; or the name of an agent, which means
// the sandbox that it has now.
func (s *Supervisor) find(prefix string, withEnded bool) (*invocation, error) {
	live, ended := s.remembered()
	all := slices.AppendSeq(slices.Collect(maps.Values(live)), maps.Values(s.waiting()))
	if withEnded {
		all = append(all, ended...)
	}
	inv, err := among(prefix, all)
	if of := s.agents.lifeOf(prefix); err != nil && of != nil {
		return of, nil
	}
	return inv, err
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

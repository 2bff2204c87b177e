package supervisor

import (
	"context"
	"errors"
	"maps"
	"slices"

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

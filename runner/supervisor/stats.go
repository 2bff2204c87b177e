package supervisor

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/cgroup"
)

// Stats implements server.Backend.
func (s *Supervisor) Stats(_ context.Context, ids []string) (*api.StatsReply, error) {
	var targets []*invocation
	for _, id := range ids {
		inv, err := s.find(id, false)
		if err != nil {
			return nil, err
		}
		targets = append(targets, inv)
	}
	if len(ids) == 0 {
		live, _ := s.remembered()
		for _, inv := range live {
			targets = append(targets, inv)
		}
	}
	reply := &api.StatsReply{Stats: []api.Stats{}}
	for _, inv := range targets {
		usage, err := inv.usage()
		if errors.Is(err, cgroup.ErrNotFound) {
			continue // it has not begun, or has ended meanwhile
		}
		if err != nil {
			return nil, err
		}
		reply.Stats = append(reply.Stats, api.Stats{
			ID: inv.id, Policy: inv.policy.Name, Memory: usage.Memory, MemoryLimit: inv.policy.Limits.Memory,
			CPU: time.Duration(usage.CPUNanos), Pids: usage.Pids, PidsLimit: inv.policy.Limits.Pids, OOMKills: usage.OOMKills,
		})
	}
	slices.SortFunc(reply.Stats, func(a, b api.Stats) int { return strings.Compare(a.ID, b.ID) })
	return reply, nil
}

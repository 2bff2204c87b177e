package supervisor

import (
	"context"
	"fmt"
	"slices"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/posture"
)

// Inspect implements server.Backend. The posture is read now, from the
// kernel. No part of the reply holds the command's environment.
func (s *Supervisor) Inspect(_ context.Context, id string) (*api.InspectReply, error) {
	inv, err := s.find(id, true)
	if err != nil {
		return nil, err
	}
	reply := &api.InspectReply{Sandbox: inv.describe()}
	inv.mu.Lock()
	if inv.sandbox != nil {
		reply.Cgroup = inv.sandbox.Group.Path()
	}
	reply.Steps = slices.Clone(inv.timings)
	inv.mu.Unlock()
	if !inv.inState(stateRunning, stateWarm, stateBackground) {
		return reply, nil
	}
	got, err := posture.Read(inv.sandbox.Pid, inv.sandbox.Group)
	if !inv.inState(stateRunning, stateWarm, stateBackground) {
		return reply, nil // it was reaped, perhaps before it was read
	}
	if err != nil {
		return nil, fmt.Errorf("inspect sandbox %s: %w", inv.id, err)
	}
	reply.Posture = got
	reply.Sandbox.Processes = len(got.Processes)
	return reply, nil
}

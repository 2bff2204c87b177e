package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/cgroup"
	"github.com/creel-sandbox/creel/runner/posture"
	"github.com/creel-sandbox/creel/runner/server"
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

// Logs implements server.Backend.
func (s *Supervisor) Logs(ctx context.Context, req *api.LogsRequest, emit func(api.LogChunk) error) error {
	inv, err := s.find(req.ID, true)
	if err != nil {
		return err
	}
	if inv.policy.Logs.Keep == 0 {
		return &api.Error{Code: "no-logs", Message: "policy " + inv.policy.Name + " keeps no output", ExitCode: 1,
			Hint: "add 'logs: {keep: 64KiB}' to the policy and reload"}
	}
	return inv.logs.read(ctx, req.Follow, emit)
}

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

// Version implements server.Backend.
func (s *Supervisor) Version(ctx context.Context) *api.VersionReply {
	reply := &api.VersionReply{Version: api.Version, Engine: string(s.declared.Load().Config.Engine)}
	var err error
	if reply.Runtime, err = s.version(ctx); err != nil {
		reply.Runtime = err.Error()
	}
	return reply
}

// versionTimeout bounds the wait for an engine to name its version, and
// versionAge how long the answer serves: anybody may ask, and each question
// starts a process.
const (
	versionTimeout = 5 * time.Second
	versionAge     = time.Minute
)

// versions remembers what the default engine answered last.
type versions struct {
	mu   sync.Mutex
	text string
	err  error
	at   time.Time
}

// version is that of the default engine.
func (s *Supervisor) version(ctx context.Context) (string, error) {
	v := &s.versions
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.at.IsZero() || time.Since(v.at) > versionAge {
		v.text, v.err = s.askVersion(ctx)
		v.at = time.Now()
	}
	return v.text, v.err
}

func (s *Supervisor) askVersion(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, versionTimeout)
	defer cancel()
	name := s.declared.Load().Config.Engine
	e, ok := s.cfg.Engines[name]
	if !ok {
		return "", fmt.Errorf("this host has no %s engine", name)
	}
	return e.Version(ctx)
}

// Policies implements server.PolicyLister: those the peer may run.
func (s *Supervisor) Policies(_ context.Context, peer server.Peer) (*api.PolicyReply, error) {
	declared := s.declared.Load()
	reply := &api.PolicyReply{}
	for name, p := range declared.Policies.All() {
		if s.mayCall(p, peer) {
			reply.Policies = append(reply.Policies, name)
		}
	}
	return reply, nil
}

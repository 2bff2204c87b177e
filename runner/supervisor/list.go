package supervisor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/cgroup"
	"github.com/creel-sandbox/creel/runner/posture"
	"github.com/creel-sandbox/creel/runner/server"
)

// Ps implements server.Backend. The rows are what the engine and the kernel
// have; what the supervisor remembers only adds to them.
func (s *Supervisor) Ps(ctx context.Context, all bool) (*api.PsReply, error) {
	ids, err := s.cfg.Engine.List(ctx)
	if err != nil {
		return nil, err
	}
	live, ended := s.remembered()
	reply := &api.PsReply{Sandboxes: []api.Sandbox{}, Notices: s.notices()}
	for _, id := range ids {
		pids, err := s.cfg.Cgroups.Procs(id)
		if err != nil && !errors.Is(err, cgroup.ErrNotFound) {
			return nil, err
		}
		row := api.Sandbox{ID: id, State: "orphan"}
		if inv := live[id]; inv != nil {
			row = inv.describe()
			delete(live, id)
		} else if len(pids) == 0 {
			continue // ended since it was listed
		}
		row.Engine, row.Processes = s.cfg.EngineName, len(pids)
		reply.Sandboxes = append(reply.Sandboxes, row)
		delete(live, id)
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
			row.State, row.Engine = "ended", s.cfg.EngineName
			rows = append(rows, row)
		}
	}
	return rows
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
// among ended ones when those are wanted.
func (s *Supervisor) find(prefix string, withEnded bool) (*invocation, error) {
	live, ended := s.remembered()
	var found []*invocation
	for id, inv := range live {
		if strings.HasPrefix(id, prefix) {
			found = append(found, inv)
		}
	}
	if withEnded {
		for _, inv := range ended {
			if strings.HasPrefix(inv.id, prefix) {
				found = append(found, inv)
			}
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

// Kill implements server.Backend. SIGKILL ends whole sandboxes, any other
// signal goes to the command's process.
func (s *Supervisor) Kill(ctx context.Context, req *api.KillRequest) (*api.KillReply, error) {
	var targets []*invocation
	if req.All {
		live, _ := s.remembered()
		for _, inv := range live {
			targets = append(targets, inv)
		}
	}
	reply := &api.KillReply{IDs: []string{}}
	for _, id := range req.IDs {
		inv, err := s.find(id, false)
		if err != nil {
			orphan, ok := s.removeOrphan(ctx, id)
			if !ok {
				return nil, err
			}
			reply.IDs = append(reply.IDs, orphan)
			continue
		}
		targets = append(targets, inv)
	}
	for _, inv := range targets {
		if unix.Signal(req.Signal) == unix.SIGKILL {
			inv.stop(api.ReasonKilled)
		} else if err := s.signal(inv, req.Signal); err != nil {
			return nil, err
		}
		reply.IDs = append(reply.IDs, inv.id)
	}
	return reply, nil
}

// removeOrphan ends a sandbox that the engine has and nobody here knows, named
// in full, and reports whether there was one. Any signal ends it: there is no
// session to send another through.
func (s *Supervisor) removeOrphan(ctx context.Context, id string) (string, bool) {
	ids, err := s.cfg.Engine.List(ctx)
	if err != nil || !slices.Contains(ids, id) {
		return "", false
	}
	if live, _ := s.remembered(); live[id] != nil {
		return "", false // it began meanwhile
	}
	if err := s.cfg.Engine.Remove(ctx, id); err != nil {
		s.cfg.Log.WithField("sandbox", id).WithError(err).Error("removing an orphan failed")
		return "", false
	}
	return id, true
}

func (s *Supervisor) signal(inv *invocation, signal int) error {
	inv.mu.Lock()
	running := inv.state == "running"
	inv.mu.Unlock()
	if !running {
		return &api.Error{Code: "not-running", Message: "sandbox " + inv.id + ": runs no command now", ExitCode: 1,
			Hint: "without -s the whole sandbox is ended"}
	}
	if err := inv.session.Signal(signal); err != nil {
		return fmt.Errorf("signal sandbox %s: %w", inv.id, err)
	}
	return nil
}

// Inspect implements server.Backend. The posture is read now, from the
// kernel. No part of the reply holds the command's environment.
func (s *Supervisor) Inspect(_ context.Context, id string) (*api.InspectReply, error) {
	inv, err := s.find(id, true)
	if err != nil {
		return nil, err
	}
	reply := &api.InspectReply{Sandbox: inv.describe(), Cgroup: s.cfg.Cgroups.Path(inv.id)}
	reply.Sandbox.Engine = s.cfg.EngineName
	inv.mu.Lock()
	reply.Steps = slices.Clone(inv.timings)
	inv.mu.Unlock()
	if reply.Sandbox.State != "running" {
		return reply, nil
	}
	got, err := posture.Read(inv.sandbox.Pid, s.cfg.Cgroups, inv.id)
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
		usage, err := s.cfg.Cgroups.Usage(inv.id)
		if errors.Is(err, cgroup.ErrNotFound) {
			continue // it ended meanwhile
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
func (s *Supervisor) Version() *api.VersionReply {
	return &api.VersionReply{Version: api.Version, Engine: s.cfg.EngineName, Runtime: s.cfg.Runtime}
}

// Policies implements server.PolicyLister: those the peer may run.
func (s *Supervisor) Policies(_ context.Context, peer server.Peer) (*api.PolicyReply, error) {
	declared := s.declared.Load()
	reply := &api.PolicyReply{}
	for _, name := range declared.Policies.Names() {
		if p, _ := declared.Policies.Get(name); mayCall(p, peer.UID) {
			reply.Policies = append(reply.Policies, name)
		}
	}
	return reply, nil
}

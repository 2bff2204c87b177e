package servertest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/server"
)

// find returns the running invocation that an ID or unique prefix names.
func (h *Host) find(prefix string) (*invocation, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var found *invocation
	for id, candidate := range h.running {
		if !strings.HasPrefix(id, prefix) {
			continue
		}
		if found != nil {
			return nil, &api.Error{Code: "ambiguous", Message: fmt.Sprintf("more than one sandbox begins with %q", prefix)}
		}
		found = candidate
	}
	if found == nil {
		return nil, &api.Error{Code: "unknown-sandbox", Message: fmt.Sprintf("there is no sandbox %q", prefix), Hint: "creel ps lists them"}
	}
	return found, nil
}

func (h *Host) sandboxes() []api.Sandbox {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := []api.Sandbox{}
	for _, i := range h.running {
		list = append(list, i.sandbox)
	}
	slices.SortFunc(list, func(a, b api.Sandbox) int { return strings.Compare(a.ID, b.ID) })
	return list
}

// Ps implements server.Backend.
func (h *Host) Ps(_ context.Context, all bool) (*api.PsReply, error) {
	reply := &api.PsReply{Sandboxes: h.sandboxes(), Agents: h.Agents}
	if all {
		reply.Notices = []string{"this host keeps no ended sandboxes"}
	}
	return reply, nil
}

// Kill implements server.Backend.
func (h *Host) Kill(_ context.Context, req *api.KillRequest) (*api.KillReply, error) {
	ids := req.IDs
	if req.All {
		for _, sandbox := range h.sandboxes() {
			ids = append(ids, sandbox.ID)
		}
	}
	reply := &api.KillReply{IDs: []string{}}
	for _, id := range ids {
		found, err := h.find(id)
		if err != nil {
			return nil, err
		}
		if err := syscall.Kill(-found.process.Pid, syscall.Signal(req.Signal)); err != nil {
			return nil, fmt.Errorf("kill %s: %w", found.sandbox.ID, err)
		}
		reply.IDs = append(reply.IDs, found.sandbox.ID)
	}
	return reply, nil
}

// OrderAgents implements server.AgentKeeper, and changes nothing.
func (h *Host) OrderAgents(_ context.Context, req *api.AgentRequest) (*api.AgentReply, error) {
	reply := &api.AgentReply{Agents: []api.Agent{}}
	for _, name := range req.Names {
		i := slices.IndexFunc(h.Agents, func(a api.Agent) bool { return a.Name == name })
		if i < 0 {
			return nil, &api.Error{Code: "not-found", Message: fmt.Sprintf("there is no agent %q to %s", name, req.Order), Hint: "creel ps lists them", ExitCode: 1}
		}
		reply.Agents = append(reply.Agents, h.Agents[i])
	}
	return reply, nil
}

// Inspect implements server.Backend.
func (h *Host) Inspect(_ context.Context, id string) (*api.InspectReply, error) {
	found, err := h.find(id)
	if err != nil {
		return nil, err
	}
	return &api.InspectReply{Sandbox: found.sandbox, Posture: map[string]any{"noNewPrivs": false}}, nil
}

// Logs implements server.Backend; with Follow it waits for ctx to end.
func (h *Host) Logs(ctx context.Context, req *api.LogsRequest, emit func(api.LogChunk) error) error {
	if _, err := h.find(req.ID); err != nil {
		return err
	}
	for _, chunk := range []api.LogChunk{{Stream: "stdout", Data: []byte("out\n")}, {Stream: "stderr", Data: []byte("err\n")}} {
		if err := emit(chunk); err != nil {
			return err
		}
	}
	if req.Follow {
		<-ctx.Done()
		if h.Causes != nil {
			h.Causes <- context.Cause(ctx)
		}
	}
	return nil
}

// Stats implements server.Backend.
func (h *Host) Stats(_ context.Context, ids []string) (*api.StatsReply, error) {
	reply := &api.StatsReply{Stats: []api.Stats{}}
	for _, sandbox := range h.sandboxes() {
		if len(ids) == 0 || slices.Contains(ids, sandbox.ID) {
			reply.Stats = append(reply.Stats, api.Stats{
				ID: sandbox.ID, Policy: sandbox.Policy,
				Memory: 3 << 20, MemoryLimit: 512 << 20, Pids: 1, PidsLimit: 128, CPU: 1500000,
			})
		}
	}
	return reply, nil
}

// Doctor implements server.Backend.
func (h *Host) Doctor(context.Context) (*api.DoctorReply, error) {
	return &api.DoctorReply{Findings: []api.Finding{
		{Name: "kernel", Level: "ok", Detail: "6.18"},
		{Name: "sandbox", Level: "error", Detail: "there is none", Hint: "this backend is for tests"},
	}}, nil
}

// Version implements server.Backend.
func (h *Host) Version(context.Context) *api.VersionReply {
	return &api.VersionReply{Version: "test", Engine: "host", Runtime: "none"}
}

// Policies implements server.PolicyLister.
func (h *Host) Policies(context.Context, server.Peer) (*api.PolicyReply, error) {
	return &api.PolicyReply{Policies: []string{"exec-build", api.DefaultPolicy}}, nil
}

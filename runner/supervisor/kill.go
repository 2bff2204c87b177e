package supervisor

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
)

// Kill implements server.Backend. SIGKILL ends whole sandboxes, any other
// signal goes to the command's process.
func (s *Supervisor) Kill(ctx context.Context, req *api.KillRequest) (*api.KillReply, error) {
	var targets []*invocation
	if req.All {
		live, _ := s.remembered()
		for _, all := range []map[string]*invocation{live, s.waiting()} {
			targets = slices.AppendSeq(targets, maps.Values(all))
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
	return s.signalAll(targets, req.Signal, reply)
}

// signalAll adds those that were signalled to the reply.
func (s *Supervisor) signalAll(targets []*invocation, signal int, reply *api.KillReply) (*api.KillReply, error) {
	for _, inv := range targets {
		if unix.Signal(signal) == unix.SIGKILL {
			inv.stop(api.ReasonKilled)
		} else if err := s.signal(inv, signal); err != nil {
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
	existing, err := s.list(ctx)
	i := slices.IndexFunc(existing, func(f found) bool { return f.ID == id })
	if err != nil || i < 0 {
		return "", false
	}
	if live, _ := s.remembered(); live[id] != nil {
		return "", false // it began meanwhile
	}
	if err := s.cfg.Engines[existing[i].engine].Remove(ctx, id); err != nil {
		s.cfg.Log.WithField("sandbox", id).WithError(err).Error("removing an orphan failed")
		return "", false
	}
	return id, true
}

func (s *Supervisor) signal(inv *invocation, signal int) error {
	if !inv.inState(stateRunning) {
		return &api.Error{Code: "not-running", Message: "sandbox " + inv.id + ": runs no command now", ExitCode: 1,
			Hint: "without -s the whole sandbox is ended"}
	}
	if err := inv.session.Signal(signal); err != nil {
		return fmt.Errorf("signal sandbox %s: %w", inv.id, err)
	}
	return nil
}

package supervisor

import (
	"context"

	"github.com/creel-sandbox/creel/runner/api"
)

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

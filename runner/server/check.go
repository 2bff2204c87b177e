package server

import (
	"context"
	"os"

	"github.com/creel-sandbox/creel/runner/api"
)

// WorkspaceChecker is a Backend that has workspaces searched for credentials.
type WorkspaceChecker interface {
	// CheckWorkspaces searches those of a policy that need not be in force. It
	// ends soon after ctx does.
	CheckWorkspaces(ctx context.Context, req *api.CheckRequest) (*api.CheckReply, error)
}

// serveCheck takes as long as a search does, and ends with its caller.
func serveCheck(ctx context.Context, c *call, request *api.Request, _ []*os.File) error {
	checker, ok := c.server.options.Backend.(WorkspaceChecker)
	if !ok {
		return &api.Error{Code: api.CodeUnsupported, Message: "this supervisor searches no workspaces"}
	}
	var body api.CheckRequest
	if err := decodeBody(request, &body); err != nil {
		return err
	}
	ctx, stop := c.watch(ctx, nil)
	defer stop()
	reply, err := checker.CheckWorkspaces(ctx, &body)
	if err != nil {
		return err
	}
	return c.reply(reply)
}

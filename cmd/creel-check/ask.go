package main

import (
	"context"
	"errors"
	"os"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/client"
)

// askSupervisor has the supervisor search a policy's workspaces: it alone has
// the values under management, and gives neither them nor what they could be
// recognised by to anybody.
func askSupervisor(ctx context.Context, file string, text []byte) (*api.CheckReply, error) {
	return client.New(os.Getenv).CheckWorkspaces(ctx, api.CheckRequest{File: file, Policy: text})
}

// notCompared says that nobody has looked for the values, and why. That there
// is no supervisor to ask is no fault of the policy; one that was asked and did
// not do it leaves open what the policy wants known.
func notCompared(problem policy.Problem, err error) policy.Problem {
	problem.Message = "the workspaces were searched by the rules alone, and not compared with the exact values that creel manages: " + err.Error()
	var told *api.Error
	if errors.As(err, &told) {
		problem.Hint = told.Hint
		if told.Code == api.CodeUnavailable || told.Code == api.CodeDenied {
			problem.Severity = policy.SeverityWarning
		}
	}
	return problem
}

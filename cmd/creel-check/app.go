package main

import (
	"os"

	"github.com/creel-sandbox/creel/cmd/internal/program"
	"github.com/creel-sandbox/creel/runner/api"
)

// run is creel-check without its exit.
func run(args []string) int {
	app := program.New("creel", "run commands in sandboxes built from declared policies", newPolicyCommand(), newSearchCommand())
	return program.Report(os.Stderr, app.Run(args), api.ExitFailed)
}

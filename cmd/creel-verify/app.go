package main

import (
	"os"

	"github.com/urfave/cli/v2"

	"github.com/creel-sandbox/creel/cmd/internal/program"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/leakcheck"
)

// holdCommand is what this program starts itself with, for the control.
const holdCommand = "hold-control"

// run is creel-verify without its exit.
func run(args []string) int {
	app := program.New("creel", "run commands in sandboxes built from declared policies",
		&cli.Command{
			Name: "credential", Usage: "show that credentials reach no disk",
			Subcommands: []*cli.Command{newVerifyCommand()},
		},
		&cli.Command{Name: holdCommand, Hidden: true, Action: func(c *cli.Context) error {
			return leakcheck.Hold(c.Args().First(), os.Stdin, os.Stdout)
		}},
	)
	return program.Report(os.Stderr, app.Run(args), api.ExitFailed)
}

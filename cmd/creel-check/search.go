package main

import (
	"os"

	"github.com/urfave/cli/v2"

	"github.com/creel-sandbox/creel/runner/hygiene/scan"
)

// newSearchCommand is the process that reads workspaces: package hygiene starts
// it, confined.
func newSearchCommand() *cli.Command {
	return &cli.Command{
		Name: "search", Hidden: true,
		Usage:  "search directories for credentials, as descriptors and standard input say",
		Action: func(*cli.Context) error { return scan.Run(os.Stdin, os.Stdout) },
	}
}

package main

import (
	"os"

	"github.com/urfave/cli/v2"

	"github.com/creel-sandbox/creel/cmd/internal/program"
	"github.com/creel-sandbox/creel/runner/api"
)

func newLogsCommand() *cli.Command {
	return &cli.Command{
		Name:      "logs",
		Usage:     "print the kept output of one sandbox; on a terminal without its control characters",
		ArgsUsage: "ID",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "follow", Aliases: []string{"f"}, Usage: "go on until the sandbox ends"},
		},
		Action: runLogs,
	}
}

func runLogs(c *cli.Context) error {
	if c.NArg() != 1 {
		return program.Usagef(c, "logs takes one ID")
	}
	stdout, stderr := program.ForTerminal(os.Stdout), program.ForTerminal(os.Stderr)
	request := api.LogsRequest{ID: c.Args().First(), Follow: c.Bool("follow")}
	return newClient().Logs(c.Context, request, func(chunk api.LogChunk) error {
		to := stdout
		if chunk.Stream == "stderr" {
			to = stderr
		}
		_, err := to.Write(chunk.Data)
		return err
	})
}

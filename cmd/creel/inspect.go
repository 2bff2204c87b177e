package main

import (
	"os"

	"github.com/urfave/cli/v2"

	"github.com/creel-sandbox/creel/cmd/internal/program"
)

func newInspectCommand() *cli.Command {
	return &cli.Command{
		Name:      "inspect",
		Usage:     "print everything known of one sandbox, as JSON",
		ArgsUsage: "ID",
		Action:    runInspect,
	}
}

func runInspect(c *cli.Context) error {
	if c.NArg() != 1 {
		return program.Usagef(c, "inspect takes one ID")
	}
	reply, err := newClient().Inspect(c.Context, c.Args().First())
	if err != nil {
		return err
	}
	return program.JSON(os.Stdout, reply)
}

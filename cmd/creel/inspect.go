package main

import (
	"os"

	"github.com/urfave/cli/v2"
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
		return usagef(c, "inspect takes one ID")
	}
	reply, err := newClient().Inspect(c.Context, c.Args().First())
	if err != nil {
		return err
	}
	return printJSON(os.Stdout, reply)
}

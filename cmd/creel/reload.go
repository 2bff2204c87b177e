package main

import (
	"github.com/urfave/cli/v2"

	"github.com/creel-sandbox/creel/cmd/internal/program"
)

func newReloadCommand() *cli.Command {
	return &cli.Command{
		Name:  "reload",
		Usage: "put creel.yaml and the policies on disk in force, and wait until they are (as root)",
		Description: "Where a file cannot be used, nothing of what is on disk is: what was in force stays so,\n" +
			"the file is named, and the exit code is 125. `systemctl reload creeld` runs this.",
		Action: runReload,
	}
}

func runReload(c *cli.Context) error {
	if c.NArg() > 0 {
		return program.Usagef(c, "reload takes no arguments")
	}
	return newClient().Reload(c.Context)
}

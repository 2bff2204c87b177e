package main

import (
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/creel-sandbox/creel/cmd/internal/program"
	"github.com/creel-sandbox/creel/runner/api"
)

func newVersionCommand() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the versions of creel and of the supervisor",
		Flags: []cli.Flag{
			program.JSONFlag(),
			&cli.BoolFlag{Name: "client", Usage: "creel's alone; asks no supervisor"},
		},
		Action: runVersion,
	}
}

// versions is the form of version --json.
type versions struct {
	Client string            `json:"client"`
	Server *api.VersionReply `json:"server,omitempty"`
}

func runVersion(c *cli.Context) error {
	if c.NArg() > 0 {
		return program.Usagef(c, "version takes no arguments")
	}
	found := versions{Client: api.Version}
	var err error
	if !c.Bool("client") {
		found.Server, err = newClient().Version(c.Context)
	}
	if printErr := printVersions(c, found); printErr != nil {
		return printErr
	}
	return err
}

func printVersions(c *cli.Context, found versions) error {
	if c.Bool("json") {
		return program.JSON(os.Stdout, found)
	}
	fmt.Fprintf(os.Stdout, "creel    %s\n", found.Client)
	if s := found.Server; s != nil {
		fmt.Fprintf(os.Stdout, "creeld   %s\nengine   %s\nruntime  %s\n",
			program.Printable(s.Version), program.Printable(s.Engine), program.Printable(s.Runtime))
	}
	return nil
}

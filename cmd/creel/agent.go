package main

import (
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/creel-sandbox/creel/cmd/internal/program"
	"github.com/creel-sandbox/creel/runner/api"
)

func newAgentCommand() *cli.Command {
	order := func(name, usage string) *cli.Command {
		return &cli.Command{Name: name, Usage: usage, ArgsUsage: "NAME…", Action: runAgentOrder}
	}
	return &cli.Command{
		Name:  "agent",
		Usage: "start, stop and restart agents; ps lists them",
		Subcommands: []*cli.Command{
			order(api.AgentStart, "start agents that were stopped, stay down, or wait to be started again"),
			order(api.AgentStop, "stop agents, until they are started or creeld is"),
			order(api.AgentRestart, "stop agents and start them anew, with the credentials of now"),
		},
	}
}

func runAgentOrder(c *cli.Context) error {
	if c.NArg() == 0 {
		return program.Usagef(c, "agent %s takes names", c.Command.Name)
	}
	reply, err := newClient().OrderAgents(c.Context, api.AgentRequest{Order: c.Command.Name, Names: c.Args().Slice()})
	if err != nil {
		return err
	}
	for _, a := range reply.Agents {
		fmt.Fprintln(os.Stdout, program.Printable(a.Name))
	}
	return nil
}

package main

import "github.com/urfave/cli/v2"

// checkProgram reads what others wrote: policies first.
const checkProgram = "creel-check"

func newPolicyCommand() *cli.Command {
	return delegated(checkProgram, &cli.Command{
		Name:  "policy",
		Usage: "check, show and explain policies",
	}, [][2]string{
		{"check", "report every problem of policies and of creel.yaml"},
		{"show", "print a policy with every default written out"},
		{"explain", "print every effective value and where it comes from"},
	})
}

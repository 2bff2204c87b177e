package main

import (
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/creel-sandbox/creel/runner/api"
)

// exitFindings is the code of doctor and policy check when what they looked
// at is not in order.
const exitFindings exitCode = 1

func newDoctorCommand() *cli.Command {
	return &cli.Command{
		Name:        "doctor",
		Usage:       "check the supervisor and its host",
		Description: "Exits with 1 when a check found an error.",
		Flags:       []cli.Flag{jsonFlag()},
		Action:      runDoctor,
	}
}

func runDoctor(c *cli.Context) error {
	if c.NArg() > 0 {
		return usagef(c, "doctor takes no arguments")
	}
	reply, err := newClient().Doctor(c.Context)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		err = printJSON(os.Stdout, reply)
	} else {
		err = printFindings(reply.Findings)
	}
	if err != nil {
		return err
	}
	for _, finding := range reply.Findings {
		if finding.Level == "error" {
			return exitFindings
		}
	}
	return nil
}

func printFindings(findings []api.Finding) error {
	var rows [][]string
	for _, f := range findings {
		rows = append(rows, []string{f.Level, f.Name, f.Detail})
	}
	if err := printTable(os.Stdout, []string{"LEVEL", "CHECK", "FOUND"}, rows); err != nil {
		return err
	}
	for _, f := range findings {
		if f.Hint != "" {
			fmt.Fprintf(os.Stdout, "%s: hint: %s\n", printable(f.Name), printable(f.Hint))
		}
	}
	return nil
}

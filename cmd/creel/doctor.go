package main

import (
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/creel-sandbox/creel/cmd/internal/program"
	"github.com/creel-sandbox/creel/runner/api"
)

func newDoctorCommand() *cli.Command {
	return &cli.Command{
		Name:        "doctor",
		Usage:       "check the supervisor and its host",
		Description: "Exits with 1 when a check found an error.",
		Flags:       []cli.Flag{program.JSONFlag()},
		Action:      runDoctor,
	}
}

func runDoctor(c *cli.Context) error {
	if c.NArg() > 0 {
		return program.Usagef(c, "doctor takes no arguments")
	}
	reply, err := newClient().Doctor(c.Context)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		err = program.JSON(os.Stdout, reply)
	} else {
		err = printFindings(reply.Findings)
	}
	if err != nil {
		return err
	}
	for _, finding := range reply.Findings {
		if finding.Level == "error" {
			return program.Findings
		}
	}
	return nil
}

func printFindings(findings []api.Finding) error {
	var rows [][]string
	for _, f := range findings {
		rows = append(rows, []string{f.Level, f.Name, f.Detail})
	}
	if err := program.Table(os.Stdout, []string{"LEVEL", "CHECK", "FOUND"}, rows); err != nil {
		return err
	}
	for _, f := range findings {
		if f.Hint != "" {
			fmt.Fprintf(os.Stdout, "%s: hint: %s\n", program.Printable(f.Name), program.Printable(f.Hint))
		}
	}
	return nil
}

package main

import (
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/creel-sandbox/creel/cmd/internal/program"
	"github.com/creel-sandbox/creel/runner/api"
)

// verifyProgram searches the whole host, as root.
const verifyProgram = "creel-verify"

func newCredentialCommand() *cli.Command {
	return &cli.Command{
		Name:  "credential",
		Usage: "take back the credentials that commands have, and show that they leave nothing",
		Subcommands: []*cli.Command{{
			Name:      "revoke",
			Usage:     "revoke the leases of sandboxes now, without ending them; in doubt, do",
			ArgsUsage: "ID… | --policy POLICY | --all",
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "policy", Usage: "those of every sandbox of this `POLICY`"},
				&cli.BoolFlag{Name: "all", Usage: "those of every sandbox"},
				program.JSONFlag(),
			},
			Action: runRevoke,
		},
			delegatedPart(verifyProgram, "credential", "verify-no-leak", "run a command with a canary for a credential, and search the host for it; as root"),
		},
	}
}

func runRevoke(c *cli.Context) error {
	ways := 0
	for _, given := range []bool{c.NArg() > 0, c.String("policy") != "", c.Bool("all")} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		return program.Usagef(c, "revoke takes either IDs, --policy or --all")
	}
	reply, err := newClient().Revoke(c.Context, api.RevokeRequest{IDs: c.Args().Slice(), Policy: c.String("policy"), All: c.Bool("all")})
	if err != nil {
		return err
	}
	if c.Bool("json") {
		err = program.JSON(os.Stdout, reply)
	} else {
		err = printLeases(reply.Leases)
	}
	if err != nil {
		return err
	}
	return unrevoked(reply.Leases)
}

func printLeases(leases []api.Lease) error {
	if len(leases) == 0 {
		fmt.Fprintln(os.Stderr, "creel: notice: there is no lease to revoke; a value of systemd: or exec: cannot be taken back")
		return nil
	}
	var rows [][]string
	for _, l := range leases {
		rows = append(rows, []string{shortID(orDash(l.Sandbox)), orDash(l.Policy), orDash(l.Variable), l.Provider, l.State})
	}
	return program.Table(os.Stdout, []string{"ID", "POLICY", "VARIABLE", "PROVIDER", "STATE"}, rows)
}

// unrevoked is an error where a lease still exists.
func unrevoked(leases []api.Lease) error {
	for _, l := range leases {
		if l.State == "revoking" || l.State == "live" {
			return &api.Error{Code: "not-revoked", ExitCode: 1,
				Message: fmt.Sprintf("the lease of %s in sandbox %s is not revoked yet: %s", l.Variable, l.Sandbox, l.Problem),
				Hint:    "creeld goes on trying until it ends by itself; revoke it in the vault too"}
		}
	}
	return nil
}

package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/creel-sandbox/creel/cmd/internal/program"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/dump"
)

const secretHelp = `The value is read from the terminal, twice and unseen, or from standard input
(one newline at its end is not part of it). It is never an argument: those are
in the list of processes and in the shell's history.`

func newSecretCommand() *cli.Command {
	return &cli.Command{
		Name:  "secret",
		Usage: "keep secrets in creel's own encrypted store, for credentials from store:NAME",
		Subcommands: []*cli.Command{
			{
				Name: "set", Usage: "add a secret (as root)", ArgsUsage: "NAME", Description: secretHelp,
				Action: func(c *cli.Context) error { return runGiveSecret(c, newClient().SetSecret, false) },
			},
			{
				Name: "rotate", Usage: "give a secret another value, in force for the next command (as root)", ArgsUsage: "NAME", Description: secretHelp,
				Action: func(c *cli.Context) error { return runGiveSecret(c, newClient().RotateSecret, true) },
			},
			{
				Name: "ls", Usage: "list secrets, their ages and the policies that name them; never a value",
				Flags: []cli.Flag{program.JSONFlag()}, Action: runListSecrets,
			},
			{
				Name: "rm", Usage: "remove secrets; revoke their values where they were issued (as root)", ArgsUsage: "NAME…",
				Action: runRemoveSecrets,
			},
		},
	}
}

func runGiveSecret(c *cli.Context, give func(context.Context, string, []byte) (*api.SecretsReply, error), there bool) error {
	if c.NArg() != 1 {
		return program.Usagef(c, "%s takes one name; the value is typed or comes on standard input, and is never an argument", c.Command.Name)
	}
	name := c.Args().First()
	if err := dump.Forbid(); err != nil {
		return err
	}
	value, err := readSecret(name, func() error { return expectSecret(c.Context, name, there) })
	defer clear(value)
	if err != nil {
		return err
	}
	reply, err := give(c.Context, name, value)
	if err != nil {
		return err
	}
	for _, s := range reply.Secrets {
		if len(s.Policies) == 0 {
			fmt.Fprintf(os.Stderr, "creel: notice: no policy in force names store:%s yet\n", program.Printable(s.Name))
		}
	}
	return nil
}

// expectSecret finds out before anything is typed whether it would be for
// nothing.
func expectSecret(ctx context.Context, name string, there bool) error {
	reply, err := newClient().Secrets(ctx)
	if err != nil {
		return err
	}
	for _, s := range reply.Secrets {
		if s.Name == name && s.State != api.SecretMissing && !there {
			return program.Hinted(fmt.Errorf("there is a secret %s already", name), "`creel secret rotate "+name+"` gives it another value")
		} else if s.Name == name && s.State != api.SecretMissing {
			return nil
		}
	}
	if there {
		return program.Hinted(fmt.Errorf("there is no secret %s", name), "`creel secret set "+name+"` makes it")
	}
	return nil
}

func runListSecrets(c *cli.Context) error {
	if c.NArg() > 0 {
		return program.Usagef(c, "ls takes no arguments")
	}
	reply, err := newClient().Secrets(c.Context)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return program.JSON(os.Stdout, reply)
	}
	var rows [][]string
	for _, s := range reply.Secrets {
		rows = append(rows, []string{s.Name, s.State, day(s.Created), day(s.Rotated), valueAge(s), orDash(strings.Join(s.Policies, ","))})
	}
	return program.Table(os.Stdout, []string{"NAME", "STATE", "CREATED", "ROTATED", "AGE", "POLICIES"}, rows)
}

func day(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateOnly)
}

func valueAge(s api.Secret) string {
	if s.Rotated.IsZero() {
		return "-"
	}
	return age(s.Age)
}

func runRemoveSecrets(c *cli.Context) error {
	if c.NArg() == 0 {
		return program.Usagef(c, "rm takes names")
	}
	reply, err := newClient().RemoveSecrets(c.Context, c.Args().Slice())
	if err != nil {
		return err
	}
	for _, s := range reply.Secrets {
		if len(s.Policies) > 0 {
			fmt.Fprintf(os.Stderr, "creel: notice: store:%s is still named by %s, whose commands are refused from now on\n",
				program.Printable(s.Name), program.Printable(strings.Join(s.Policies, ", ")))
		}
	}
	return nil
}

package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/client"
)

const exitCodesHelp = `Exit codes of exec: the command's own; 124 time limit; 125 creel itself failed;
126 not executable; 127 not found; 128+n killed by signal n.`

// run is creel without its exit.
func run(args []string) int {
	return report(os.Stderr, newApp().Run(args))
}

func newApp() *cli.App {
	app := &cli.App{
		Name:        "creel",
		Usage:       "run commands in sandboxes built from declared policies",
		Description: exitCodesHelp,
		Commands: []*cli.Command{
			newExecCommand(),
			newPsCommand(),
			newKillCommand(),
			newCredentialCommand(),
			newInspectCommand(),
			newLogsCommand(),
			newStatsCommand(),
			newPolicyCommand(),
			newImageCommand(),
			newDoctorCommand(),
			newVersionCommand(),
			newCompletionCommand(),
			newCompleteCommand(),
		},
		Action:                    unknownCommand,
		OnUsageError:              usageError,
		ExitErrHandler:            func(*cli.Context, error) {}, // the one os.Exit is in main
		DisableSliceFlagSeparator: true,
		HideHelpCommand:           true,
		HideVersion:               true,
	}
	for _, command := range app.Commands {
		prepare(command)
	}
	return app
}

// prepare gives a command what all have: errors in our own words, and no
// "help" subcommand, which would take the place of a command of that name.
func prepare(command *cli.Command) {
	command.OnUsageError = usageError
	command.HideHelpCommand = true
	for _, sub := range command.Subcommands {
		prepare(sub)
	}
	if len(command.Subcommands) > 0 {
		command.Action = unknownCommand
	}
}

func usageError(c *cli.Context, err error, _ bool) error {
	return usagef(c, "%v", err)
}

// usagef is an error in how creel was called.
func usagef(c *cli.Context, format string, args ...any) error {
	return &api.Error{
		Code:     api.CodeBadRequest,
		Message:  fmt.Sprintf(format, args...),
		Hint:     fmt.Sprintf("`%s --help` tells how it is called", strings.TrimSpace(c.Command.HelpName)),
		ExitCode: api.ExitFailed,
	}
}

// unknownCommand runs when no subcommand matched.
func unknownCommand(c *cli.Context) error {
	if c.NArg() > 0 {
		return usagef(c, "there is no command %q", c.Args().First())
	}
	if c.Command.HasName(c.App.Name) || len(c.Lineage()) <= 2 && c.Command.Name == "" {
		return cli.ShowAppHelp(c)
	}
	return cli.ShowSubcommandHelp(c)
}

// newClient is a client of the supervisor that the user points to.
func newClient() *client.Client { return client.New(os.Getenv) }

// Package program is what the programs that people call have in common: how
// they are parsed, how they say what went wrong, and their tables.
//
// It may import urfave/cli, golang.org/x/sys and runner/api, which creel links
// anyway: every package here is initialised each time that creel runs a
// command. It never ends the program, and never speaks to the supervisor.
package program

import (
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/creel-sandbox/creel/runner/api"
)

// New is a program of subcommands. An error is returned, not printed: see
// Report. No flag takes a list from one comma-separated value.
func New(name, usage string, commands ...*cli.Command) *cli.App {
	app := &cli.App{
		Name:                      name,
		Usage:                     usage,
		Commands:                  commands,
		Action:                    unknown,
		OnUsageError:              usageError,
		ExitErrHandler:            func(*cli.Context, error) {}, // the one os.Exit is in main
		DisableSliceFlagSeparator: true,
		HideHelpCommand:           true,
		HideVersion:               true,
	}
	for _, c := range commands {
		prepare(c)
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
	if len(command.Subcommands) > 0 && command.Action == nil {
		command.Action = unknown
	}
}

func usageError(c *cli.Context, err error, _ bool) error { return Usagef(c, "%v", err) }

// Usagef is an error in how the program was called.
func Usagef(c *cli.Context, format string, args ...any) error {
	return &api.Error{
		Code:    api.CodeBadRequest,
		Message: fmt.Sprintf(format, args...),
		Hint:    fmt.Sprintf("`%s --help` tells how it is called", strings.TrimSpace(c.Command.HelpName)),
	}
}

// unknown runs when no subcommand matched.
func unknown(c *cli.Context) error {
	if c.NArg() > 0 {
		return Usagef(c, "there is no command %q", c.Args().First())
	}
	if c.Command.HasName(c.App.Name) || len(c.Lineage()) <= 2 && c.Command.Name == "" {
		return cli.ShowAppHelp(c)
	}
	return cli.ShowSubcommandHelp(c)
}

package main

import (
	"errors"
	"os"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/cmd/internal/program"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/client"
)

const exitCodesHelp = `Exit codes of exec: the command's own; 124 time limit; 125 creel itself failed;
126 not executable; 127 not found; 128+n killed by signal n.`

// run is creel without its exit.
func run(args []string) int {
	err := newApp().Run(args)
	if errors.Is(err, client.ErrStdoutClosed) {
		return api.ExitSignal + int(unix.SIGPIPE) // as if it had killed creel
	}
	return program.Report(os.Stderr, err, api.ExitFailed)
}

func newApp() *cli.App {
	app := program.New("creel", "run commands in sandboxes built from declared policies",
		newExecCommand(),
		newPsCommand(),
		newKillCommand(),
		newAgentCommand(),
		newCredentialCommand(),
		newSecretCommand(),
		newTokenCommand(),
		newInspectCommand(),
		newLogsCommand(),
		newStatsCommand(),
		newPolicyCommand(),
		newImageCommand(),
		newDoctorCommand(),
		newReloadCommand(),
		newVersionCommand(),
		newCompletionCommand(),
		newCompleteCommand(),
	)
	app.Description = exitCodesHelp
	return app
}

// newClient is a client of the supervisor that the user points to.
func newClient() *client.Client { return client.New(os.Getenv) }

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/image"
)

// exitFailed is the code of every failure.
const exitFailed = 1

// hinted is an error with a hint for the user.
type hinted struct {
	error
	hint string
}

func (h hinted) Unwrap() error { return h.error }

// run is creel-image without its exit.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, stop) // the second signal ends what does not listen
	err := newApp().RunContext(ctx, args)
	if err == nil {
		return 0
	}
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	report(os.Stderr, err)
	return exitFailed
}

func report(to io.Writer, err error) {
	fmt.Fprintf(to, "creel: error: %s\n", printable(err.Error()))
	var h hinted
	if errors.As(err, &h) {
		fmt.Fprintf(to, "creel: hint: %s\n", printable(h.hint))
	}
}

// printable keeps what a registry or an archive says from moving the cursor.
func printable(s string) string {
	quoted := strconv.QuoteToGraphic(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

func newApp() *cli.App {
	app := &cli.App{
		Name:     "creel image",
		HelpName: "creel image",
		Usage:    "the images that policies of the oci engine can name",
		Flags: []cli.Flag{
			&cli.PathFlag{Name: "config", Value: "/etc/creel/creel.yaml", Usage: "configuration `FILE` of the supervisor"},
		},
		Commands:                  []*cli.Command{newPullCommand(), newImportCommand(), newLsCommand(), newRmCommand(), newPruneCommand()},
		Action:                    unknownCommand,
		OnUsageError:              usageError,
		ExitErrHandler:            func(*cli.Context, error) {}, // the one os.Exit is in main
		DisableSliceFlagSeparator: true,
		HideHelpCommand:           true,
		HideVersion:               true,
	}
	for _, command := range app.Commands {
		command.OnUsageError = usageError
		command.HideHelpCommand = true
	}
	return app
}

func unknownCommand(c *cli.Context) error {
	if c.NArg() > 0 {
		return usagef(c, "there is no command %q", c.Args().First())
	}
	return cli.ShowAppHelp(c)
}

func usageError(c *cli.Context, err error, _ bool) error { return usagef(c, "%v", err) }

func usagef(c *cli.Context, format string, args ...any) error {
	name := strings.TrimSpace(c.App.Name + " " + c.Command.Name)
	if c.Command.Name == c.App.Name {
		name = c.App.Name
	}
	return hinted{fmt.Errorf(format, args...), fmt.Sprintf("`%s --help` tells how it is called", name)}
}

// openStore reads the configuration for where the images are.
func openStore(c *cli.Context) (*image.Store, *policy.Config, error) {
	if os.Geteuid() != 0 {
		return nil, nil, hinted{errors.New("the images are root's"), "run it as root"}
	}
	config, err := loadConfig(c.Path("config"))
	if err != nil {
		return nil, nil, err
	}
	store, err := image.Open(config.ImageDir)
	return store, config, err
}

func loadConfig(path string) (*policy.Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, hinted{fmt.Errorf("read configuration: %w", err), "--config names another; an empty file means the defaults"}
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, policy.MaxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	config, problems := policy.ParseConfig(path, data)
	if policy.HasErrors(problems) {
		return nil, hinted{fmt.Errorf("configuration %s has errors", path), "mend them: creel policy check " + path}
	}
	return config, nil
}

// bounded ends the work with the time limit of the flag.
func bounded(c *cli.Context) (context.Context, context.CancelFunc) {
	limit := c.Duration("timeout")
	cause := hinted{fmt.Errorf("it took longer than %v", limit.Round(time.Millisecond)), "--timeout gives it more time"}
	return context.WithTimeoutCause(c.Context, limit, cause)
}

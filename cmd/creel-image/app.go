package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/creel-sandbox/creel/cmd/internal/program"
	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/image"
)

// exitFailed is the code of every failure.
const exitFailed = 1

// run is creel-image without its exit.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, stop) // the second signal ends what does not listen
	err := newApp().RunContext(ctx, args)
	if err != nil && ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	return program.Report(os.Stderr, err, exitFailed)
}

func newApp() *cli.App {
	return program.New("creel", "run commands in sandboxes built from declared policies", &cli.Command{
		Name:  "image",
		Usage: "the images that policies of the oci engine can name",
		Flags: []cli.Flag{
			&cli.PathFlag{Name: "config", Value: "/etc/creel/creel.yaml", Usage: "configuration `FILE` of the supervisor"},
		},
		Subcommands: []*cli.Command{newPullCommand(), newImportCommand(), newLsCommand(), newRmCommand(), newPruneCommand()},
	})
}

// openStore reads the configuration for where the images are.
func openStore(c *cli.Context) (*image.Store, *policy.Config, error) {
	if os.Geteuid() != 0 {
		return nil, nil, program.Hinted(errors.New("the images are root's"), "run it as root")
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
		return nil, program.Hinted(fmt.Errorf("read configuration: %w", err), "--config names another; an empty file means the defaults")
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, policy.MaxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	config, problems := policy.ParseConfig(path, data)
	if policy.HasErrors(problems) {
		return nil, program.Hinted(fmt.Errorf("configuration %s has errors", path), "mend them: creel policy check "+path)
	}
	return config, nil
}

// bounded ends the work with the time limit of the flag.
func bounded(c *cli.Context) (context.Context, context.CancelFunc) {
	limit := c.Duration("timeout")
	cause := program.Hinted(fmt.Errorf("it took longer than %v", limit.Round(time.Millisecond)), "--timeout gives it more time")
	return context.WithTimeoutCause(c.Context, limit, cause)
}

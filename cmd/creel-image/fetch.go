package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	units "github.com/docker/go-units"
	"github.com/urfave/cli/v2"

	"github.com/creel-sandbox/creel/cmd/internal/program"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/dump"
	"github.com/creel-sandbox/creel/runner/image/fetch"
	"github.com/creel-sandbox/creel/runner/image/unpack"
)

func newPullCommand() *cli.Command {
	return &cli.Command{
		Name: "pull", Usage: "get an image from a registry", ArgsUsage: "NAME[:TAG]|NAME@DIGEST",
		Description: "Credentials are those of `docker login` (DOCKER_CONFIG). Prints what a policy can name it by.",
		Flags:       fetchFlags(), Action: runPull,
	}
}

func newImportCommand() *cli.Command {
	return &cli.Command{
		Name: "import", Usage: "get an image from a docker-archive or an OCI layout", ArgsUsage: "FILE|DIR|-",
		Description: "Takes what `docker save` writes. Prints what a policy can name it by.",
		Flags:       append(fetchFlags(), &cli.StringFlag{Name: "name", Usage: "`NAME:TAG` of the image among several, or to give to one"}),
		Action:      runImport,
	}
}

func fetchFlags() []cli.Flag {
	limits := fetch.DefaultLimits()
	return []cli.Flag{
		&cli.StringFlag{Name: "max-size", Value: units.BytesSize(float64(limits.Unpack.Bytes)), Usage: "refuse an image that unpacks to more than `SIZE`"},
		&cli.StringFlag{Name: "max-download", Value: units.BytesSize(float64(limits.Download)), Usage: "refuse layers or an archive of more than `SIZE`"},
		&cli.Int64Flag{Name: "max-entries", Value: limits.Unpack.Entries, Usage: "refuse an image of more than `N` files and directories"},
		&cli.IntFlag{Name: "max-layers", Value: limits.Layers, Usage: "refuse an image of more than `N` layers"},
		&cli.DurationFlag{Name: "timeout", Value: time.Hour, Usage: "give up after `DURATION`"},
		&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "no progress"},
	}
}

func limitsOf(c *cli.Context) (fetch.Limits, error) {
	limits := fetch.Limits{Unpack: unpack.Limits{Entries: c.Int64("max-entries")}, Layers: c.Int("max-layers")}
	for flag, into := range map[string]*int64{"max-size": &limits.Unpack.Bytes, "max-download": &limits.Download} {
		var err error
		if *into, err = units.RAMInBytes(c.String(flag)); err != nil || *into <= 0 {
			return limits, program.Usagef(c, "--%s takes a size, such as 2GiB, not %q", flag, c.String(flag))
		}
	}
	if limits.Unpack.Entries <= 0 || limits.Layers <= 0 || c.Duration("timeout") <= 0 {
		return limits, program.Usagef(c, "--max-entries, --max-layers and --timeout must be more than zero")
	}
	return limits, nil
}

func runPull(c *cli.Context) error {
	if c.NArg() != 1 {
		return program.Usagef(c, "pull takes one image")
	}
	return bring(c, func(ctx context.Context, o fetch.Options) (*fetch.Result, error) {
		return fetch.Pull(ctx, c.Args().First(), o)
	})
}

func runImport(c *cli.Context) error {
	if c.NArg() != 1 {
		return program.Usagef(c, "import takes one file or directory, or - for stdin")
	}
	return bring(c, func(ctx context.Context, o fetch.Options) (*fetch.Result, error) {
		return fetch.Import(ctx, c.Args().First(), c.String("name"), os.Stdin, o)
	})
}

// bring runs a pull or an import, and says what came of it.
func bring(c *cli.Context, get func(context.Context, fetch.Options) (*fetch.Result, error)) error {
	limits, err := limitsOf(c)
	if err != nil {
		return err
	}
	store, _, err := openStore(c)
	if err != nil {
		return err
	}
	if err := dump.Forbid(); err != nil { // for the credentials of registries
		return err
	}
	ctx, cancel := bounded(c)
	defer cancel()
	progress := newProgress(ctx, c.Bool("quiet"))
	result, err := get(ctx, fetch.Options{Store: store, Limits: limits, Progress: progress})
	progress.close()
	if err != nil {
		return explain(err)
	}
	if len(result.Skipped) > 0 {
		fmt.Fprintf(os.Stderr, "creel: notice: devices, FIFOs or sockets were left out: %s\n", program.Printable(strings.Join(result.Skipped, ", ")))
	}
	if !result.New {
		fmt.Fprintln(os.Stderr, "creel: notice: the image was here already")
	}
	_, err = fmt.Fprintln(os.Stdout, result.Pin)
	return err
}

// explain adds what to do about an error.
func explain(err error) error {
	var limit *unpack.LimitError
	var told *api.Error
	switch {
	case errors.As(err, &told):
		return told
	case errors.As(err, &limit):
		return program.Hinted(err, "if the image can be trusted, --max-size, --max-download or --max-entries allow more")
	case fetch.IsUnauthorized(err):
		return program.Hinted(err, "if it is there: `docker login` as this user, or DOCKER_CONFIG, gives the credentials")
	}
	return err
}

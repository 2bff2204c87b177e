// Command creeld is the supervisor: the one process with privilege. It reads
// its configuration, prepares its process, and hands over to the supervisor
// and server packages. It may import whatever they are assembled from, and
// never decides anything about a sandbox itself.
package main

import (
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/creel-sandbox/creel/runner/api"
)

func main() {
	app := &cli.App{
		Name:                      "creeld",
		Usage:                     "supervisor of creel's sandboxes",
		Version:                   api.Version,
		Flags:                     flags,
		Action:                    run,
		ExitErrHandler:            func(*cli.Context, error) {}, // the one exit is below
		DisableSliceFlagSeparator: true,
	}
	if err := app.Run(os.Args); err != nil {
		fmt.Fprintf(os.Stderr, "creeld: error: %v\n", err)
		os.Exit(1)
	}
}

package main

import (
	"os"

	"github.com/urfave/cli/v2"
)

func main() {
	_ = &cli.App{ExitErrHandler: func(*cli.Context, error) {}, DisableSliceFlagSeparator: true}
	os.Exit(0)
}

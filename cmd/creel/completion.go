package main

import (
	"embed"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/creel-sandbox/creel/cmd/internal/program"
)

//go:embed completions
var completions embed.FS

var shells = []string{"bash", "zsh", "fish"}

func newCompletionCommand() *cli.Command {
	return &cli.Command{
		Name:        "completion",
		Usage:       "print a script that lets a shell complete creel",
		ArgsUsage:   strings.Join(shells, "|"),
		Description: "bash: source <(creel completion bash)\nzsh:  source <(creel completion zsh)\nfish: creel completion fish | source",
		Action:      runCompletion,
	}
}

func runCompletion(c *cli.Context) error {
	if c.NArg() != 1 || !slices.Contains(shells, c.Args().First()) {
		return program.Usagef(c, "completion takes one of %s", strings.Join(shells, ", "))
	}
	script, err := completions.ReadFile("completions/creel." + c.Args().First())
	if err != nil {
		return fmt.Errorf("read completion: %w", err)
	}
	_, err = os.Stdout.Write(script)
	return err
}

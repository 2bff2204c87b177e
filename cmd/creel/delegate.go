package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
)

// programDir is where `make install` puts the programs that do the work of
// some commands. Each is of its own for what it links: creel starts once per
// command, and most commands need none of it.
const programDir = "/usr/lib/creel"

// delegated is a command that a program of its own does: it gets the words
// after creel as they are. The subcommands, each with what it is for, are
// here for help and completion.
func delegated(program string, command *cli.Command, subcommands [][2]string) *cli.Command {
	command.SkipFlagParsing = true
	command.Action = func(c *cli.Context) error { return become(program, command.Name, c.Args().Slice()) }
	for _, sub := range subcommands {
		command.Subcommands = append(command.Subcommands, delegatedPart(program, command.Name, sub[0], sub[1]))
	}
	return command
}

// delegatedPart is one subcommand that a program of its own does.
func delegatedPart(program, command, name, usage string) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			return become(program, command, append([]string{name}, c.Args().Slice()...))
		},
	}
}

// become turns this process into a program, so that signals and exit codes
// are its own.
func become(program, command string, args []string) error {
	argv := append([]string{program, command}, args...)
	var errs []error
	for _, dir := range programDirs() {
		// It returns only when it fails.
		err := unix.Exec(filepath.Join(dir, program), argv, os.Environ())
		if !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("start %s: %w", filepath.Join(dir, program), err))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return &api.Error{
		Code:    api.CodeInternal,
		Message: program + " is not installed",
		Hint:    "`make install` puts it into " + programDir + "; beside creel it is found too",
	}
}

// programDirs are where such a program is looked for: never in PATH, which is
// whoever's who starts creel.
func programDirs() []string {
	dirs := []string{programDir}
	if own, err := os.Executable(); err == nil {
		dirs = append([]string{filepath.Dir(own)}, dirs...)
	}
	return dirs
}

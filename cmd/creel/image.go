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

// imageProgram does the work of creel image: what reads the bytes of
// registries and archives is linked into neither creel nor creeld.
const (
	imageProgram    = "creel-image"
	imageProgramDir = "/usr/lib/creel"
)

func newImageCommand() *cli.Command {
	command := &cli.Command{
		Name:  "image",
		Usage: "pull, import, list and remove the images that policies name; as root, asks no supervisor",
		Flags: []cli.Flag{&cli.StringFlag{Name: "config", Usage: "configuration `FILE` of the supervisor"}},
	}
	for _, sub := range [][2]string{
		{"pull", "get an image from a registry"},
		{"import", "get an image from a docker-archive or an OCI layout"},
		{"ls", "list the images"},
		{"rm", "remove images"},
		{"prune", "remove the images that no policy names"},
	} {
		command.Subcommands = append(command.Subcommands, &cli.Command{
			Name: sub[0], Usage: sub[1], Action: runImage, SkipFlagParsing: true, // they are creel-image's
		})
	}
	return command
}

// runImage becomes creel-image, so that signals and exit codes are its own.
func runImage(c *cli.Context) error {
	argv := []string{imageProgram}
	if file := c.String("config"); file != "" {
		argv = append(argv, "--config", file)
	}
	argv = append(append(argv, c.Command.Name), c.Args().Slice()...)
	var errs []error
	for _, dir := range imageProgramDirs() {
		// It returns only when it fails.
		err := unix.Exec(filepath.Join(dir, imageProgram), argv, os.Environ())
		if !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("start %s: %w", filepath.Join(dir, imageProgram), err))
		}
	}
	failed := &api.Error{Code: api.CodeInternal, ExitCode: 1}
	if err := errors.Join(errs...); err != nil {
		failed.Message = err.Error()
		return failed
	}
	failed.Message = imageProgram + " is not installed"
	failed.Hint = "`make install` puts it into " + imageProgramDir + "; beside creel it is found too"
	return failed
}

// imageProgramDirs are where creel-image is looked for: never in PATH, which
// is whoever's who starts creel.
func imageProgramDirs() []string {
	dirs := []string{imageProgramDir}
	if own, err := os.Executable(); err == nil {
		dirs = append([]string{filepath.Dir(own)}, dirs...)
	}
	return dirs
}

package main

import "github.com/urfave/cli/v2"

// imageProgram reads the bytes of registries and archives, which neither
// creel nor creeld does.
const imageProgram = "creel-image"

func newImageCommand() *cli.Command {
	return delegated(imageProgram, &cli.Command{
		Name:  "image",
		Usage: "pull, import, list and remove the images that policies name; as root, asks no supervisor",
	}, [][2]string{
		{"pull", "get an image from a registry"},
		{"import", "get an image from a docker-archive or an OCI layout"},
		{"ls", "list the images"},
		{"rm", "remove images"},
		{"prune", "remove the images that no policy names"},
	})
}

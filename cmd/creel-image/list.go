package main

import (
	"os"
	"strings"
	"time"

	units "github.com/docker/go-units"
	"github.com/urfave/cli/v2"

	"github.com/creel-sandbox/creel/cmd/internal/program"
	"github.com/creel-sandbox/creel/runner/image"
)

func newLsCommand() *cli.Command {
	return &cli.Command{
		Name: "ls", Usage: "list the images",
		Flags:  []cli.Flag{program.JSONFlag()},
		Action: runLs,
	}
}

// list is the form of ls --json.
type list struct {
	Images []listed `json:"images"`
}

type listed struct {
	// Pin is what a policy can name the image by.
	Pin string `json:"pin"`
	image.Info
}

func runLs(c *cli.Context) error {
	if c.NArg() > 0 {
		return program.Usagef(c, "ls takes no arguments")
	}
	store, _, err := openStore(c)
	if err != nil {
		return err
	}
	images, err := store.List()
	if err != nil {
		return err
	}
	if !c.Bool("json") {
		return printTable(images)
	}
	reply := list{Images: []listed{}}
	for _, info := range images {
		reply.Images = append(reply.Images, listed{info.Pin(), info})
	}
	return program.JSON(os.Stdout, reply)
}

// printTable prints a line for each name, as docker images.
func printTable(images []image.Info) error {
	var rows [][]string
	for _, info := range images {
		for _, name := range shown(info) {
			rows = append(rows, []string{
				name, short(info.ID), strings.ToLower(units.HumanDuration(time.Since(info.Unpacked))) + " ago", units.BytesSize(float64(info.Size)),
			})
		}
	}
	return program.Table(os.Stdout, []string{"NAME", "ID", "UNPACKED", "SIZE"}, rows)
}

// shown are the names of an image, without those by a digest where others
// are.
func shown(info image.Info) []string {
	var tagged []string
	for _, name := range info.Names {
		if !strings.Contains(name, "@") {
			tagged = append(tagged, name)
		}
	}
	switch {
	case len(tagged) > 0:
		return tagged
	case len(info.Names) > 0:
		return info.Names[:1]
	}
	return []string{"-"}
}

// short is enough of an ID to name an image by.
func short(id string) string {
	_, hex, _ := strings.Cut(id, ":")
	return hex[:min(len(hex), 12)]
}

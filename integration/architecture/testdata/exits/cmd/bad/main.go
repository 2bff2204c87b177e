package main

import (
	"log"
	"os"

	"github.com/urfave/cli/v2"
)

func main() {
	if (&cli.App{Name: "bad"}).Run(nil) != nil {
		log.Fatal("no")
	}
	os.Exit(0)
}

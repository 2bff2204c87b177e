package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/cmd/internal/program"
	"github.com/creel-sandbox/creel/runner/api"
)

func newKillCommand() *cli.Command {
	return &cli.Command{
		Name:      "kill",
		Usage:     "end sandboxes, or signal their commands",
		ArgsUsage: "ID… | --all",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "signal", Aliases: []string{"s"}, Value: "KILL", Usage: "`SIGNAL` to send; KILL ends the whole sandbox"},
			&cli.BoolFlag{Name: "all", Usage: "every sandbox"},
		},
		Action: runKill,
	}
}

func runKill(c *cli.Context) error {
	signal, err := parseSignal(c.String("signal"))
	if err != nil {
		return program.Usagef(c, "%v", err)
	}
	if c.Bool("all") == (c.NArg() > 0) {
		return program.Usagef(c, "kill takes either IDs or --all")
	}
	reply, err := newClient().Kill(c.Context, api.KillRequest{IDs: c.Args().Slice(), All: c.Bool("all"), Signal: signal})
	if err != nil {
		return err
	}
	for _, id := range reply.IDs {
		fmt.Fprintln(os.Stdout, id)
	}
	return nil
}

// parseSignal reads a name with or without SIG, or a number, as kill(1).
func parseSignal(s string) (int, error) {
	if n, err := strconv.Atoi(s); err == nil {
		if n < 1 || n > api.MaxSignal {
			return 0, fmt.Errorf("there is no signal %d: numbers are 1 to %d", n, api.MaxSignal)
		}
		return n, nil
	}
	name := strings.ToUpper(s)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if n := unix.SignalNum(name); n != 0 {
		return int(n), nil
	}
	return 0, fmt.Errorf("there is no signal %q: use a name such as TERM, or a number", s)
}

package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/creel-sandbox/creel/cmd/internal/program"
	"github.com/creel-sandbox/creel/runner/api"
)

func newStatsCommand() *cli.Command {
	return &cli.Command{
		Name:      "stats",
		Usage:     "print what sandboxes use now",
		ArgsUsage: "[ID…]",
		Flags:     []cli.Flag{program.JSONFlag()},
		Action:    runStats,
	}
}

func runStats(c *cli.Context) error {
	reply, err := newClient().Stats(c.Context, c.Args().Slice())
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return program.JSON(os.Stdout, reply)
	}
	var rows [][]string
	for i := range reply.Stats {
		rows = append(rows, statsRow(&reply.Stats[i]))
	}
	return program.Table(os.Stdout, []string{"ID", "POLICY", "MEM USAGE / LIMIT", "MEM %", "CPU TIME", "PIDS / LIMIT", "OOM KILLS"}, rows)
}

func statsRow(s *api.Stats) []string {
	percent := "-"
	if s.MemoryLimit > 0 {
		percent = fmt.Sprintf("%.2f%%", 100*float64(s.Memory)/float64(s.MemoryLimit))
	}
	return []string{
		shortID(s.ID), s.Policy,
		size(s.Memory) + " / " + limit(s.MemoryLimit, size(s.MemoryLimit)),
		percent,
		s.CPU.Round(time.Microsecond).String(),
		strconv.FormatInt(s.Pids, 10) + " / " + limit(s.PidsLimit, strconv.FormatInt(s.PidsLimit, 10)),
		strconv.FormatInt(s.OOMKills, 10),
	}
}

func limit(n int64, shown string) string {
	if n <= 0 {
		return "none"
	}
	return shown
}

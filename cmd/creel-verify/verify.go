package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/creel-sandbox/creel/cmd/internal/program"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/client"
	"github.com/creel-sandbox/creel/runner/leakcheck"
)

const verifyHelp = `A canary, which is no secret, takes the place of each credential of the policy;
its providers are not asked, and no lease is made. The command runs in a sandbox
of the policy and prints the canary there; CMD runs beside it. Everything that is
written meanwhile is searched, and then everything else that the host keeps and
shows. In each place a control is planted that must be found.

It leaves a few lines with the control in the kernel's log, its trace and the
journal. It must run as root on the host itself.

Exit codes: 0 nothing was found, and every place is covered; 1 the canary was
found; 125 nothing was found, but not every place is covered, or it could not be
checked at all.`

func newVerifyCommand() *cli.Command {
	return &cli.Command{
		Name:        "verify-no-leak",
		Usage:       "run a command with a canary for a credential, and search the host for it; as root",
		ArgsUsage:   "[-- CMD [ARG…]]",
		Description: verifyHelp,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "policy", Value: api.DefaultPolicy, Usage: "`NAME` of a policy with credentials"},
			&cli.DurationFlag{Name: "timeout", Value: 5 * time.Minute, Usage: "give up after `DURATION`"},
			&cli.StringSliceFlag{Name: "except", Usage: "leave out a `PLACE` of the table, or what is below a path; may be repeated"},
			&cli.StringSliceFlag{Name: "raw", Usage: "search all bytes of this block `DEVICE` too, deleted files included; it may take long; may be repeated"},
			program.JSONFlag(),
		},
		Action: runVerify,
	}
}

func runVerify(c *cli.Context) error {
	if os.Geteuid() != 0 {
		return program.Hinted(errors.New("only root can see what the whole host writes and shows"), "run the same command with sudo")
	}
	if c.Duration("timeout") <= 0 {
		return program.Usagef(c, "the timeout must be more than 0")
	}
	for _, except := range c.StringSlice("except") {
		if path.Clean(except) == "/" || except == "" {
			return program.Usagef(c, "--except %q would leave nothing to search", except)
		}
	}
	ctx, stop := signal.NotifyContext(c.Context, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, c.Duration("timeout"))
	defer cancel()
	report, err := leakcheck.Run(ctx, leakcheck.Options{
		Client: client.New(os.Getenv), Policy: c.String("policy"), Command: c.Args().Slice(),
		Except: c.StringSlice("except"), Devices: c.StringSlice("raw"), Hold: []string{"/proc/self/exe", holdCommand},
	})
	if err != nil {
		// Whatever else it is: 1 would say that there is a leak, and the command's
		// own codes (126, 127) that it ran.
		known := program.Known(err, api.ExitFailed)
		known.ExitCode = api.ExitFailed
		return known
	}
	if c.Bool("json") {
		err = program.JSON(os.Stdout, report)
	} else {
		err = printReport(report)
	}
	if err != nil {
		return err
	}
	switch report.Verdict {
	case leakcheck.Clean:
		return nil
	case leakcheck.Leak:
		return program.Findings
	}
	return program.Exit(api.ExitFailed)
}

// verdicts are how each is told to people.
var verdicts = map[string]string{
	leakcheck.Clean:   "no leak: the canary is in none of the places above, in each of which the control was found",
	leakcheck.Leak:    "LEAK: the canary is where it must not be",
	leakcheck.Unknown: "NOT VERIFIED: nothing was found, but not every place above could be searched",
}

func printReport(r *leakcheck.Report) error {
	var rows [][]string
	for _, p := range r.Places {
		rows = append(rows, []string{p.Name, p.State, p.Detail})
	}
	if err := program.Table(os.Stdout, []string{"PLACE", "STATE", "DETAIL"}, rows); err != nil {
		return err
	}
	if len(r.Findings) > 0 {
		rows = nil
		for _, f := range r.Findings {
			process := f.Process
			if process == "" {
				process = "-"
			}
			rows = append(rows, []string{f.Where, strconv.FormatInt(f.Offset, 10), f.Form, process, f.Place})
		}
		fmt.Println()
		if err := program.Table(os.Stdout, []string{"FOUND IN", "BYTE", "FORM", "PROCESS", "PLACE"}, rows); err != nil {
			return err
		}
	}
	fmt.Println("\nNot shown by any run:")
	for _, limit := range r.Limits {
		fmt.Println("  - " + limit)
	}
	fmt.Printf("\nPolicy %s, engine %s, sandbox %s, canaries in %s; its command ended: %s, exit code %d.\n",
		r.Policy, r.Engine, r.Sandbox, strings.Join(r.Variables, ", "), r.Reason, r.ExitCode)
	_, err := fmt.Println(verdicts[r.Verdict])
	return err
}

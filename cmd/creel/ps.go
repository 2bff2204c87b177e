package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/creel-sandbox/creel/cmd/internal/program"
	"github.com/creel-sandbox/creel/runner/api"
)

func newPsCommand() *cli.Command {
	return &cli.Command{
		Name:  "ps",
		Usage: "list sandboxes",
		Flags: []cli.Flag{
			program.JSONFlag(),
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "list ended ones too"},
		},
		Action: runPs,
	}
}

func runPs(c *cli.Context) error {
	if c.NArg() > 0 {
		return program.Usagef(c, "ps takes no arguments")
	}
	reply, err := newClient().Ps(c.Context, c.Bool("all"))
	if err != nil {
		return err
	}
	for _, notice := range append(agentNotices(reply.Agents), reply.Notices...) {
		fmt.Fprintf(os.Stderr, "creel: notice: %s\n", program.Printable(notice))
	}
	if c.Bool("json") {
		return program.JSON(os.Stdout, reply)
	}
	var rows [][]string
	for i := range reply.Sandboxes {
		rows = append(rows, psRow(&reply.Sandboxes[i], time.Now()))
	}
	for _, a := range reply.Agents {
		if a.Sandbox == "" {
			rows = append(rows, []string{"-", a.Name, "-", "-", age(time.Since(a.Since)) + " ago", a.State, "0", "-", "-"})
		}
	}
	return program.Table(os.Stdout, []string{"ID", "POLICY", "COMMAND", "CALLER", "CREATED", "STATE", "PIDS", "LEASES", "WEAKER"}, rows)
}

// agentNotices tell what is wrong with agents.
func agentNotices(agents []api.Agent) (notices []string) {
	for _, a := range agents {
		if a.Problem != "" {
			notices = append(notices, fmt.Sprintf("agent %s is %s: %s", a.Name, a.State, a.Problem))
		}
	}
	return notices
}

func psRow(s *api.Sandbox, now time.Time) []string {
	state := s.State
	if s.Result != nil {
		state = fmt.Sprintf("%s (%s, %d)", s.State, s.Result.Reason, s.Result.ExitCode)
	}
	if s.Canary {
		state += ", canary"
	}
	created := "-"
	if !s.Created.IsZero() {
		created = age(now.Sub(s.Created)) + " ago"
	}
	command := "-"
	if s.Command != "" {
		command = strconv.Quote(shortened(s.Command, 40))
	}
	return []string{
		shortID(s.ID), s.Policy, command, orDash(callerOf(s)), created, state,
		strconv.Itoa(s.Processes), orDash(leaseStates(s.Leases, now)), orDash(strings.Join(s.Weaker, ",")),
	}
}

// callerOf is who ran it, and for whom.
func callerOf(s *api.Sandbox) string {
	if s.Sender == "" {
		return s.Caller
	}
	return s.Caller + " for " + shortened(s.Sender, 40)
}

// leaseStates counts the leases of a sandbox by their state, and says when the
// first of each ends by itself.
func leaseStates(leases []api.Lease, now time.Time) string {
	var states []string
	count, ends := map[string]int{}, map[string]time.Time{}
	for _, l := range leases {
		if count[l.State]++; count[l.State] == 1 {
			states = append(states, l.State)
		}
		if first, known := ends[l.State]; l.Expires.After(now) && (!known || l.Expires.Before(first)) {
			ends[l.State] = l.Expires
		}
	}
	for i, state := range states {
		states[i] = fmt.Sprintf("%d %s", count[state], state)
		if end, known := ends[state]; known && state != stateRevoked {
			states[i] += " (" + age(end.Sub(now)) + " left)"
		}
	}
	return strings.Join(states, ", ")
}

// stateRevoked is that of a lease whose time no longer matters.
const stateRevoked = "revoked"

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

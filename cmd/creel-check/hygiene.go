package main

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/creel-sandbox/creel/cmd/internal/program"
	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/hygiene"
)

// searchLimit bounds the search for one policy.
const searchLimit = 30 * time.Minute

// searchWorkspaces searches what a policy has searched before its commands, as
// its user, by the rules: the values under management are the supervisor's, and
// it alone compares them. A policy that does not ask for it is searched where
// whoever calls does.
func searchWorkspaces(ctx context.Context, file string, p *policy.Policy, asked bool) []policy.Problem {
	if p.Hygiene == nil && !asked {
		return nil
	}
	if p.Hygiene == nil {
		p.Hygiene = &policy.Hygiene{Secrets: policy.HygieneWarn}
	}
	problem := policy.Problem{File: file, Key: "hygiene", Severity: policy.SeverityWarning}
	if os.Geteuid() != 0 {
		problem.Message = "the workspaces are not searched for credentials"
		problem.Hint = "run it as root, so that they are read as the policy's user"
		return []policy.Problem{problem}
	}
	result, err := search(ctx, p)
	if p.Hygiene.Secrets == policy.HygieneRefuse {
		problem.Severity = policy.SeverityError
	}
	if err != nil {
		problem.Message = err.Error()
		return []policy.Problem{problem}
	}
	c := result.Count
	fmt.Fprintf(os.Stdout, "%s: searched %d files and %d objects of Git; the rules do not apply to %d binary ones, apply to the first 64 MiB of %d, and leave out %d by their names; the sandbox cannot read %d either\n",
		program.Printable(file), c.Files, c.Objects, c.Binary, c.Long, c.Exempt, c.OtherOwners)
	var problems []policy.Problem
	for _, line := range result.Findings {
		problem.Message = line
		problem.Hint = "take it out and make a new one in its place, or list its fingerprint in hygiene.allow"
		problems = append(problems, problem)
	}
	for _, line := range result.Uncovered {
		problem.Message, problem.Hint = line, ""
		problems = append(problems, problem)
	}
	return problems
}

func search(ctx context.Context, p *policy.Policy) (*hygiene.Result, error) {
	uid, gid, err := identify(p.User)
	if err != nil {
		return nil, err
	}
	report, err := hygiene.Search(ctx, hygiene.Job{
		Program: "/proc/self/exe", UID: uid, GID: gid, Places: hygiene.Places(p), Limit: searchLimit,
	})
	if err != nil {
		return nil, err
	}
	return hygiene.Judge(p, report, nil, time.Now()), nil
}

// identify gives the ids of a policy's user: a name of this host, or UID:GID.
func identify(declared string) (uid, gid uint32, err error) {
	uidText, gidText, numeric := strings.Cut(declared, ":")
	if !numeric {
		u, err := user.Lookup(declared)
		if err != nil {
			return 0, 0, fmt.Errorf("user %q: not a user of this host", declared)
		}
		uidText, gidText = u.Uid, u.Gid
	}
	for _, id := range []struct {
		text string
		to   *uint32
	}{{uidText, &uid}, {gidText, &gid}} {
		n, err := strconv.ParseUint(id.text, 10, 32)
		if err != nil || n == 0 {
			return 0, 0, fmt.Errorf("user %q: not a user other than root", declared)
		}
		*id.to = uint32(n)
	}
	return uid, gid, nil
}

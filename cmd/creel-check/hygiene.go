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
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/hygiene"
)

// searchLimit bounds the search for one policy.
const searchLimit = 30 * time.Minute

// searchWorkspaces has searched what a policy has searched before its commands,
// as its user: by the supervisor, which compares the values under management
// too, or else here, by the rules alone. A policy that does not ask for it is
// searched where whoever calls does.
func searchWorkspaces(ctx context.Context, file string, text []byte, p *policy.Policy, asked bool) []policy.Problem {
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
	if p.Hygiene.Secrets == policy.HygieneRefuse {
		problem.Severity = policy.SeverityError
	}
	ctx, cancel := context.WithTimeout(ctx, searchLimit)
	defer cancel()
	var problems []policy.Problem
	reply, err := askSupervisor(ctx, file, text)
	if err != nil {
		problems = append(problems, notCompared(problem, err))
		reply, err = search(ctx, p)
	} else {
		tellCompared(file, reply)
	}
	if err != nil {
		problem.Message = err.Error()
		return append(problems, problem)
	}
	tellSearched(file, reply.Count)
	return append(problems, found(problem, reply)...)
}

// tellCompared says which values were looked for.
func tellCompared(file string, reply *api.CheckReply) {
	line := fmt.Sprintf("%s: compared with the exact values of %d credentials", file, reply.Compared)
	if len(reply.Unknown) > 0 {
		line += "; the supervisor has no value now of " + strings.Join(reply.Unknown, ", ")
	}
	fmt.Fprintln(os.Stdout, program.Printable(line))
}

// tellSearched says how much was searched, and what of it only in part.
func tellSearched(file string, c api.CheckCount) {
	fmt.Fprintf(os.Stdout, "%s: searched %d files and %d objects of Git; the rules do not apply to %d binary ones, apply to the first 64 MiB of %d, and leave out %d by their names; the sandbox cannot read %d either\n",
		program.Printable(file), c.Files, c.Objects, c.Binary, c.Long, c.Exempt, c.OtherOwners)
}

// found are the problems that a search told of.
func found(problem policy.Problem, reply *api.CheckReply) (problems []policy.Problem) {
	for _, line := range reply.Findings {
		problem.Message = line
		problem.Hint = "take it out and make a new one in its place; what is no credential in use can be listed in hygiene.allow, by its fingerprint"
		problems = append(problems, problem)
	}
	for _, line := range reply.Uncovered {
		problem.Message, problem.Hint = line, ""
		problems = append(problems, problem)
	}
	return problems
}

// search searches by the rules.
func search(ctx context.Context, p *policy.Policy) (*api.CheckReply, error) {
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
	result := hygiene.Judge(p, report, nil, time.Now())
	return &api.CheckReply{Findings: result.Findings, Uncovered: result.Uncovered, Count: api.CheckCount(result.Count)}, nil
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

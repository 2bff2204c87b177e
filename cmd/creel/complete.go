package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/cmd/internal/program"
	"github.com/creel-sandbox/creel/runner/api"
)

// completeTimeout bounds how long a Tab may wait for the supervisor.
const completeTimeout = 300 * time.Millisecond

// policyDir is where policies are unless creel.yaml says otherwise. It is
// written here too so that creel need not link what reads them.
const policyDir = "/etc/creel/policies"

// newCompleteCommand is what the scripts of completion call with the words
// before the cursor. It prints what the last one can become, a line each.
func newCompleteCommand() *cli.Command {
	return &cli.Command{
		Name:   "__complete",
		Hidden: true,
		Action: func(c *cli.Context) error {
			for _, candidate := range complete(c.App, c.Args().Slice()) {
				fmt.Fprintln(os.Stdout, candidate)
			}
			return nil
		},
	}
}

// complete returns the candidates for the last of words, sorted. None means
// that the shell completes file names.
func complete(app *cli.App, words []string) []string {
	if len(words) == 0 {
		return nil
	}
	at := cursor{commands: app.Commands}
	for _, word := range words[:len(words)-1] {
		at.pass(word)
	}
	last := words[len(words)-1]
	var found []string
	for _, candidate := range at.candidates(last) {
		if strings.HasPrefix(candidate, last) && program.Printable(candidate) == candidate {
			found = append(found, candidate)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// cursor is where a command line stands after some words.
type cursor struct {
	commands []*cli.Command // that can come next
	path     string         // of the commands so far
	flags    []cli.Flag
	value    string // the flag whose value comes next
	over     bool   // after --, or after the word that exec runs
}

func (at *cursor) pass(word string) {
	switch {
	case at.over:
	case at.value != "":
		at.value = ""
	case word == "--":
		at.over = true
	case strings.HasPrefix(word, "-"):
		at.value = at.valueOf(word)
	default:
		at.descend(word)
	}
}

func (at *cursor) descend(word string) {
	for _, command := range at.commands {
		if command.HasName(word) {
			at.path = strings.TrimSpace(at.path + " " + word)
			at.commands, at.flags = command.Subcommands, command.Flags
			return
		}
	}
	at.over = at.path == "exec"
}

// valueOf names the flag whose value follows word, or "".
func (at *cursor) valueOf(word string) string {
	name := strings.TrimLeft(word, "-")
	for _, flag := range at.flags {
		if _, isBool := flag.(*cli.BoolFlag); !isBool && slices.Contains(flag.Names(), name) {
			return flag.Names()[0]
		}
	}
	return ""
}

func (at *cursor) candidates(last string) []string {
	switch {
	case at.over:
		return nil
	case at.value != "":
		return flagValues(at.value)
	case strings.HasPrefix(last, "-"):
		return at.flagNames()
	case len(at.commands) > 0:
		var names []string
		for _, command := range at.commands {
			if !command.Hidden {
				names = append(names, command.Name)
			}
		}
		return names
	}
	return arguments(at.path)
}

func (at *cursor) flagNames() []string {
	names := []string{"--help"}
	for _, flag := range at.flags {
		for _, name := range flag.Names() {
			if len(name) == 1 {
				names = append(names, "-"+name)
			} else {
				names = append(names, "--"+name)
			}
		}
	}
	return names
}

func flagValues(flag string) []string {
	switch flag {
	case "policy":
		return policyNames()
	case "signal":
		return signalNames()
	}
	return nil
}

func arguments(path string) []string {
	switch path {
	case "kill", "inspect", "logs", "stats":
		return sandboxIDs()
	case "agent start", "agent stop", "agent restart":
		return agentNames()
	case "secret rotate", "secret rm":
		return secretNames()
	case "token rotate", "token revoke":
		return tokenNames()
	case "policy show", "policy explain":
		return policyFiles()
	case "completion":
		return shells
	}
	return nil
}

func sandboxIDs() []string {
	ctx, cancel := context.WithTimeout(context.Background(), completeTimeout)
	defer cancel()
	reply, err := newClient().Ps(ctx, false)
	if err != nil {
		return nil
	}
	var ids []string
	for _, sandbox := range reply.Sandboxes {
		ids = append(ids, shortID(sandbox.ID))
	}
	return ids
}

func agentNames() []string {
	ctx, cancel := context.WithTimeout(context.Background(), completeTimeout)
	defer cancel()
	reply, err := newClient().Ps(ctx, false)
	if err != nil {
		return nil
	}
	var names []string
	for _, agent := range reply.Agents {
		names = append(names, agent.Name)
	}
	return names
}

func secretNames() []string {
	ctx, cancel := context.WithTimeout(context.Background(), completeTimeout)
	defer cancel()
	reply, err := newClient().Secrets(ctx)
	if err != nil {
		return nil
	}
	var names []string
	for _, secret := range reply.Secrets {
		if secret.State != api.SecretMissing {
			names = append(names, secret.Name)
		}
	}
	return names
}

func tokenNames() []string {
	ctx, cancel := context.WithTimeout(context.Background(), completeTimeout)
	defer cancel()
	reply, err := newClient().Tokens(ctx)
	if err != nil {
		return nil
	}
	var names []string
	for _, token := range reply.Tokens {
		names = append(names, token.Name)
	}
	return names
}

// policyNames are those that the caller may run, or those that it can see.
func policyNames() []string {
	ctx, cancel := context.WithTimeout(context.Background(), completeTimeout)
	defer cancel()
	if reply, err := newClient().Policies(ctx); err == nil {
		return reply.Policies
	}
	return policyFiles()
}

func policyFiles() []string {
	files, err := filepath.Glob(filepath.Join(policyDir, "*.yaml"))
	if err != nil {
		return nil
	}
	for i, file := range files {
		files[i] = strings.TrimSuffix(filepath.Base(file), ".yaml")
	}
	return files
}

func signalNames() []string {
	var names []string
	for n := 1; n < api.MaxSignal; n++ {
		if name := unix.SignalName(unix.Signal(n)); name != "" {
			names = append(names, strings.TrimPrefix(name, "SIG"))
		}
	}
	return names
}

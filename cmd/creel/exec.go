package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/cmd/internal/program"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/client"
)

func newExecCommand() *cli.Command {
	env := &envFlag{}
	return &cli.Command{
		Name:        "exec",
		Usage:       "run one command in a sandbox of its own",
		ArgsUsage:   "-- COMMAND [ARG…]",
		Description: exitCodesHelp,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "policy", Value: api.DefaultPolicy, Usage: "`NAME` of the policy"},
			&cli.StringFlag{Name: "cwd", Usage: "`DIR` inside the sandbox to start in"},
			&cli.GenericFlag{Name: "e", Value: env, Usage: "set `NAME=VALUE`, or pass on creel's own NAME; may be repeated"},
			&cli.GenericFlag{Name: "env", Value: env, Hidden: true}, // no alias: those exclude each other
			&cli.BoolFlag{Name: "interactive", Aliases: []string{"i"}, Usage: "pass stdin on"},
			&cli.BoolFlag{Name: "tty", Aliases: []string{"t"}, Usage: "run on a terminal made inside the sandbox"},
			&cli.DurationFlag{Name: "timeout", Usage: "end it after `DURATION`, such as 90s; the policy's own limit still holds"},
			&cli.StringFlag{Name: "session", Usage: "`NAME` that ps shows; with 'scope: session' of the policy, whose commands share /tmp"},
			&cli.StringFlag{Name: "sender", Usage: "for whom it runs, `PLATFORM:ID`; the policy may list who that can be"},
			&cli.StringFlag{Name: "channel", Usage: "from where it was asked for, `PLATFORM:ID`; the policy may list where that can be"},
			&cli.StringFlag{Name: "call", Usage: "`ID` of the agent's call, that ps and the journal show"},
			&cli.BoolFlag{Name: "die-with-parent", Usage: "end it when the process that started creel ends"},
			&cli.StringFlag{Name: "result", Usage: "write how it ended to `FILE`, as JSON"},
			&cli.IntFlag{Name: "result-fd", Value: noFD, Usage: "write how it ended to descriptor `N`, as JSON"},
		},
		UseShortOptionHandling: true, // -it
		Action:                 runExec,
	}
}

func runExec(c *cli.Context) error {
	sink, err := openResult(c)
	if err != nil {
		return err
	}
	result, err := execute(c)
	told := err
	if err == nil {
		told = ended(result)
	}
	if _, silent := told.(program.Exit); !silent || sink.given() {
		release() // not otherwise: creel is at its end
	}
	if sinkErr := sink.write(result, err); sinkErr != nil && err == nil {
		return sinkErr
	}
	return told
}

// execute runs the command and returns how it ended. A terminal is restored
// when it returns, and when it panics.
func execute(c *cli.Context) (*api.Result, error) {
	request, err := execRequest(c)
	if err == nil && c.Bool("die-with-parent") {
		err = dieWithParent()
	}
	if err != nil {
		return nil, err
	}
	run := &client.Exec{Request: *request, Stdout: os.Stdout, Stderr: os.Stderr}
	if sameFile(unix.Stdout, unix.Stderr) {
		run.Stderr = run.Stdout // one pipe keeps the order of both
	}
	if c.Bool("interactive") {
		run.Stdin = os.Stdin
	}
	// EPIPE must arrive as an error: the command is told first.
	signal.Ignore(unix.SIGPIPE)
	ctx, cancel := context.WithCancelCause(c.Context)
	defer cancel(nil)
	f := newForwarder(cancel, request.TTY)
	defer f.stop()
	go f.catch()
	run.Control, run.Started, run.Ready = f.control, f.started, f.wait
	if request.TTY && run.Stdin != nil {
		f.wait() // whatever ends creel from now on restores the terminal
		raw, err := makeRaw(unix.Stdin)
		if err != nil {
			return nil, err
		}
		defer raw.restore()
		f.continued = raw.again
	}
	f.start()
	return newClient().Exec(ctx, run)
}

func execRequest(c *cli.Context) (*api.ExecRequest, error) {
	if c.NArg() == 0 {
		return nil, program.Usagef(c, "there is no command; give it after --: creel exec -- ls -l")
	}
	for _, flag := range []string{"policy", "cwd", "session", "sender", "channel", "call"} {
		if !utf8.ValidString(c.String(flag)) {
			return nil, program.Usagef(c, "--%s is not UTF-8", flag)
		}
	}
	if c.IsSet("timeout") && c.Duration("timeout") <= 0 {
		return nil, program.Usagef(c, "--timeout must be more than zero")
	}
	env, err := c.Generic("e").(*envFlag).resolve(os.LookupEnv)
	if err != nil {
		return nil, program.Usagef(c, "%v", err)
	}
	request := &api.ExecRequest{
		Policy:  c.String("policy"),
		Cwd:     c.String("cwd"),
		Env:     env,
		TTY:     c.Bool("tty"),
		Timeout: c.Duration("timeout"),
		Session: c.String("session"),
		Sender:  c.String("sender"),
		Channel: c.String("channel"),
		Call:    c.String("call"),
	}
	for _, word := range c.Args().Slice() {
		request.Argv = append(request.Argv, []byte(word))
	}
	if request.TTY {
		return request, addTerminal(request)
	}
	return request, nil
}

// ended turns how a command ended into creel's own end, with a word about
// every end that the command did not choose.
func ended(result *api.Result) error {
	told := &api.Error{Code: result.Reason, ExitCode: result.ExitCode}
	explain := fmt.Sprintf("`creel policy explain %s` shows its limits", result.Policy)
	switch result.Reason {
	case api.ReasonTimeout:
		told.Message = fmt.Sprintf("the command was ended at its time limit, after %v", result.Wall.Round(time.Millisecond))
		told.Hint = explain + "; --timeout can only shorten it"
	case api.ReasonOutputLimit:
		told.Message, told.Hint = "the command was ended: it wrote more output than its policy allows", explain
	case api.ReasonExpired:
		told.Message = fmt.Sprintf("the command was ended with its credential, after %v", result.Wall.Round(time.Millisecond))
		told.Hint = explain + "; a credential lasts as long as its ttl, or the vault, says"
	case api.ReasonTokenEnded:
		told.Message = "the command was ended with the token it was started with"
		told.Hint = "it was revoked or replaced, or has expired: `sudo creel token ls` on the host"
	case api.ReasonSessionEnded:
		told.Message, told.Hint = "the command was ended with its session", explain+"; a session ends by its age, and when its policy changes"
	case api.ReasonOOM:
		told.Message, told.Hint = "the command was ended: it used more memory than its policy allows", explain
	case api.ReasonLost:
		told.Message = "the sandbox was ended from outside, by neither the command nor creel"
		told.Hint = "a Docker daemon that is restarted ends what runs, unless its live-restore is on; the supervisor's log may say more: journalctl -u creeld"
	case api.ReasonKilled:
		told.Message = "the sandbox was ended by an operator, or because the supervisor stopped"
	case api.ReasonNotFound:
		told.Message = "there is no such command in the sandbox"
		told.Hint = fmt.Sprintf("its PATH and files are those of the policy: `creel policy explain %s`", result.Policy)
	case api.ReasonNotExecutable:
		told.Message = "the command cannot be executed in the sandbox"
		told.Hint = "it lacks the right to, or its interpreter is missing there"
	case api.ReasonFailed:
		told.Message = "the command could not be run"
		told.Hint = "the supervisor's log may say more: journalctl -u creeld"
	default:
		return program.Exit(result.ExitCode)
	}
	return told
}

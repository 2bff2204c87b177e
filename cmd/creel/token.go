package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/cmd/internal/program"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/dump"
)

const tokenHelp = `The token is printed once, on standard output; creeld keeps its SHA-256 and
nothing else. Keep it in a file that only the integration can read, outside of
every workspace: (umask 077; creel token create … >FILE). creel reads it from
the file that CREEL_TOKEN_FILE names.`

const day24 = 24 * time.Hour

func newTokenCommand() *cli.Command {
	return &cli.Command{
		Name:  "token",
		Usage: "give integrations API tokens, for the callers that the kernel cannot vouch for",
		Subcommands: []*cli.Command{
			{
				Name: "create", Usage: "make the token of an integration (as root)", ArgsUsage: "NAME", Description: tokenHelp,
				Flags: []cli.Flag{
					&cli.StringSliceFlag{Name: "policy", Usage: "`NAME` of a policy that it is for, which must name it too; may be repeated"},
					&cli.StringSliceFlag{Name: "sender", Usage: "for whom alone it can be used, `PLATFORM:ID`; may be repeated"},
					&cli.StringSliceFlag{Name: "channel", Usage: "from where alone it can be used, `PLATFORM:ID`; may be repeated"},
					daysFlag("30"),
				},
				Action: runCreateToken,
			},
			{
				Name: "rotate", Usage: "give an integration another token; the one it has ends, and what runs for it (as root)", ArgsUsage: "NAME", Description: tokenHelp,
				Flags: []cli.Flag{daysFlag("as the one before")}, Action: runRotateToken,
			},
			{Name: "revoke", Usage: "end tokens at once, and what runs for them", ArgsUsage: "NAME…", Action: runRevokeTokens},
			{
				Name: "ls", Usage: "list tokens, what they are for, and when each was used and ends; never a token",
				Flags: []cli.Flag{program.JSONFlag()}, Action: runListTokens,
			},
		},
	}
}

func daysFlag(otherwise string) *cli.IntFlag {
	return &cli.IntFlag{Name: "days", Usage: "how many `DAYS` it lasts, 90 at most", DefaultText: otherwise}
}

// defaultDays is how long a token lasts that nobody said it of.
const defaultDays = 30

func runCreateToken(c *cli.Context) error {
	req := api.TokenRequest{Policies: c.StringSlice("policy"), Senders: c.StringSlice("sender"), Channels: c.StringSlice("channel"), Life: defaultDays * day24}
	return runTakeToken(c, req, newClient().CreateToken)
}

func runRotateToken(c *cli.Context) error {
	return runTakeToken(c, api.TokenRequest{}, newClient().RotateToken)
}

func runTakeToken(c *cli.Context, req api.TokenRequest, take func(context.Context, api.TokenRequest) ([]byte, *api.TokensReply, error)) error {
	if c.NArg() != 1 {
		return program.Usagef(c, "%s takes one name, of an integration", c.Command.Name)
	}
	req.Name = c.Args().First()
	if c.IsSet("days") {
		if req.Life = time.Duration(c.Int("days")) * day24; c.Int("days") < 1 || c.Int("days") > 90 {
			return program.Usagef(c, "--days is from 1 to 90")
		}
	}
	var err error
	if req.To, err = tokenOutput(); err != nil {
		return err
	}
	if err := dump.Forbid(); err != nil {
		return err
	}
	token, reply, err := take(c.Context, req)
	if err != nil {
		return err
	}
	defer clear(token)
	if _, err := fmt.Fprintf(os.Stdout, "%s\n", token); err != nil {
		return program.Hinted(fmt.Errorf("print token: %w", err), "it is in force, and nobody has it: creel token revoke "+req.Name)
	}
	for _, t := range reply.Tokens {
		fmt.Fprintf(os.Stderr, "creel: notice: it ends on %s\n", t.Expires.Local().Format(time.DateOnly))
		if len(t.Refused) > 0 {
			fmt.Fprintf(os.Stderr, "creel: notice: no policy in force is for it yet of %s: add `callers: {tokens: [%s]}` and reload\n",
				program.Printable(strings.Join(t.Refused, ", ")), program.Printable(t.Name))
		}
	}
	return nil
}

// tokenOutput is the path of the file that standard output is, or none where it
// is no file. One that others can read is refused, before there is a token to be
// read in it.
func tokenOutput() (string, error) {
	var st unix.Stat_t
	if err := unix.Fstat(unix.Stdout, &st); err != nil {
		return "", fmt.Errorf("look at standard output: %w", err)
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return "", nil
	case st.Mode&0o077 != 0:
		return "", program.Hinted(fmt.Errorf("standard output is a file of mode %04o, which others may read", st.Mode&0o777),
			"chmod 0600 it first, or make it with (umask 077; …); no token was made")
	}
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", unix.Stdout))
	if err != nil {
		return "", fmt.Errorf("look at standard output: %w", err)
	}
	return path, nil
}

func runRevokeTokens(c *cli.Context) error {
	if c.NArg() == 0 {
		return program.Usagef(c, "revoke takes names")
	}
	_, err := newClient().RevokeTokens(c.Context, c.Args().Slice())
	return err
}

func runListTokens(c *cli.Context) error {
	if c.NArg() > 0 {
		return program.Usagef(c, "ls takes no arguments")
	}
	reply, err := newClient().Tokens(c.Context)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		return program.JSON(os.Stdout, reply)
	}
	var rows [][]string
	for _, t := range reply.Tokens {
		rows = append(rows, []string{t.Name, t.State, strings.Join(t.Policies, ","), orDash(strings.Join(t.Refused, ",")),
			orDash(strings.Join(append(t.Senders, t.Channels...), ",")), day(t.Created), day(t.Made), day(t.Expires), lastUse(t.Used)})
	}
	return program.Table(os.Stdout, []string{"NAME", "STATE", "POLICIES", "REFUSED", "ONLY FOR", "CREATED", "MADE", "EXPIRES", "USED"}, rows)
}

func lastUse(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return age(time.Since(t)) + " ago"
}

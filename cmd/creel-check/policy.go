package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/creel-sandbox/creel/cmd/internal/program"
	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
)

// configName is the supervisor's own file, which check knows by its name.
const configName = "creel.yaml"

func newPolicyCommand() *cli.Command {
	dir := &cli.StringFlag{Name: "policy-dir", Value: policy.DefaultPolicyDir, Usage: "`DIR` where a NAME is looked for"}
	return &cli.Command{
		Name:  "policy",
		Usage: "check, show and explain policies",
		Subcommands: []*cli.Command{
			{
				Name: "check", Usage: "report every problem of policies and of " + configName, ArgsUsage: "FILE…",
				Description: "Exits with 1 when a file has an error. As root, the workspaces of a policy with 'hygiene' are searched for credentials; the supervisor, where one runs, compares them with the exact values that it manages.",
				Flags: []cli.Flag{
					&cli.BoolFlag{Name: "strict", Usage: "judge as a supervisor with strict: true does: some warnings are errors then"},
					&cli.BoolFlag{Name: "search", Usage: "search the workspaces of every policy for credentials"},
				},
				Action: runPolicyCheck,
			},
			{
				Name: "show", Usage: "print a policy with every default written out", ArgsUsage: "NAME|FILE",
				Flags: []cli.Flag{dir}, Action: runPolicyShow,
			},
			{
				Name: "explain", Usage: "print every effective value and where it comes from", ArgsUsage: "NAME|FILE",
				Flags: []cli.Flag{dir}, Action: runPolicyExplain,
			},
		},
	}
}

func runPolicyCheck(c *cli.Context) error {
	if c.NArg() == 0 {
		return program.Usagef(c, "policy check takes at least one file")
	}
	failed := false
	for _, file := range c.Args().Slice() {
		problems, err := checkFile(c, file)
		if err != nil {
			return err
		}
		for _, problem := range problems {
			fmt.Fprintln(os.Stdout, problem)
		}
		if policy.HasErrors(problems) {
			failed = true
			continue
		}
		fmt.Fprintf(os.Stdout, "%s: ok\n", program.Printable(file))
	}
	if failed {
		return program.Findings
	}
	return nil
}

func checkFile(c *cli.Context, file string) ([]policy.Problem, error) {
	data, err := readFile(file)
	if err != nil {
		return nil, err
	}
	if filepath.Base(file) == configName {
		_, problems := policy.ParseConfig(file, data)
		return problems, nil
	}
	document, problems := policy.Read(file, data)
	if policy.HasErrors(problems) {
		return problems, nil
	}
	problems = append(problems, document.Review(time.Now(), c.Bool("strict"))...)
	return append(problems, searchWorkspaces(c.Context, file, data, document.Policy, c.Bool("search"))...), nil
}

// readFile reads no more than a policy can be, so that package policy sees
// that a file is too large without creel reading all of it.
func readFile(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, policy.MaxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	return data, nil
}

func runPolicyShow(c *cli.Context) error {
	document, err := load(c)
	if err != nil {
		return err
	}
	shown, err := document.Policy.Show()
	if err != nil {
		return fmt.Errorf("show policy: %w", err)
	}
	_, err = os.Stdout.Write(shown)
	return err
}

func runPolicyExplain(c *cli.Context) error {
	document, err := load(c)
	if err != nil {
		return err
	}
	var rows [][]string
	for _, setting := range document.Explain() {
		rows = append(rows, []string{setting.Key, setting.Value, setting.Origin})
	}
	return program.Table(os.Stdout, []string{"KEY", "VALUE", "ORIGIN"}, rows)
}

// load reads the policy that the one argument names. Its problems are part
// of the error.
func load(c *cli.Context) (*policy.Document, error) {
	if c.NArg() != 1 {
		return nil, program.Usagef(c, "policy %s takes one name or file", c.Command.Name)
	}
	file := policyPath(c.String("policy-dir"), c.Args().First())
	data, err := readFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &api.Error{
			Code:    "unknown-policy",
			Message: fmt.Sprintf("there is no policy %q: %s does not exist", c.Args().First(), file),
			Hint:    "--policy-dir looks elsewhere; a path with a slash, or one that ends in .yaml, is taken as a file",
		}
	}
	if err != nil {
		return nil, err
	}
	document, problems := policy.Read(file, data)
	if !policy.HasErrors(problems) {
		return document, nil
	}
	refused := &api.Error{
		Code:    "bad-policy",
		Message: fmt.Sprintf("policy %s has errors", file),
		Hint:    "mend them: creel policy check " + file,
	}
	for _, problem := range problems {
		refused.Details = append(refused.Details, problem.String())
	}
	return nil, refused
}

// policyPath is the file that a name or a path means.
func policyPath(dir, nameOrFile string) string {
	if strings.ContainsRune(nameOrFile, '/') || strings.HasSuffix(nameOrFile, ".yaml") {
		return nameOrFile
	}
	return filepath.Join(dir, nameOrFile+".yaml")
}

package policy

import (
	"errors"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// envNameText is what a shell can name (POSIX.1-2017, XBD 8.1 and 3.235).
var envNameText = matching(`^[A-Za-z_][A-Za-z0-9_]{0,254}$`)

// refusedEnv are variables that make a program load or run code other than
// what its argv names. A receipt that says "git status ran" must not be made
// untrue by a variable. A name that ends in * stands for all that begin so.
//
// Search paths (PATH, PYTHONPATH, NODE_PATH …) are not listed: projects need
// them, and a sandbox's command could set them itself.
var refusedEnv = []struct{ name, why string }{
	{"LD_*", "the dynamic linker loads other code for it (ld.so(8))"},
	{"GLIBC_TUNABLES", "the C library parses it before main (CVE-2023-4911)"},
	{"GCONV_PATH", "iconv loads code from it (CVE-2021-4034)"},
	{"LOCPATH", "the C library loads locale files from it"},
	{"MALLOC_TRACE", "the C library writes to the file it names"},
	{"BASH_ENV", "bash runs the file it names before any script"},
	{"ENV", "sh runs the file it names when it starts"},
	{"ZDOTDIR", "zsh runs the start-up files it finds there"},
	{"SHELLOPTS", "bash takes options from it, xtrace among them"},
	{"BASHOPTS", "bash takes options from it"},
	{"BASH_FUNC_*", "bash defines a function from it (CVE-2014-6271)"},
	{"BASH_XTRACEFD", "bash writes to the descriptor it names"},
	{"PS4", "bash expands it before every traced command"},
	{"PROMPT_COMMAND", "bash runs it before every prompt"},
	{"IFS", "the shell splits words differently under it"},
	{"NODE_OPTIONS", "node loads the modules it names"},
	{"PYTHONSTARTUP", "python runs the file it names"},
	{"PYTHONHOME", "python takes its standard library from it"},
	{"PYTHONINSPECT", "python stays interactive after the script"},
	{"PYTHONBREAKPOINT", "python runs the function it names"},
	{"PERL5OPT", "perl takes options, -M among them, from it"},
	{"PERL5DB", "perl runs it under the debugger"},
	{"RUBYOPT", "ruby takes options, -r among them, from it"},
	{"JAVA_TOOL_OPTIONS", "the JVM loads the agents it names"},
	{"JDK_JAVA_OPTIONS", "the JVM loads the agents it names"},
	{"_JAVA_OPTIONS", "the JVM loads the agents it names"},
	{"GIT_CONFIG*", "git takes settings that name commands from it"},
	{"GIT_EXEC_PATH", "git runs the commands it finds there"},
	{"GIT_EXTERNAL_DIFF", "git runs it"},
	{"GIT_SSH_COMMAND", "git runs it"},
	{"GIT_SSH", "git runs it"},
	{"GIT_PROXY_COMMAND", "git runs it"},
	{"GIT_ASKPASS", "git runs it"},
	{"CREEL_*", "the name is creel's own"},
}

// CheckEnvName says whether a variable of this name may be set in a sandbox,
// by a policy or by a caller. The error says why not.
func CheckEnvName(name string) error {
	if f := envFault(name); f != nil {
		return errors.New(f.message)
	}
	return nil
}

func envFault(name string) *fault {
	if !envNameText.MatchString(name) {
		return faultf("use letters, digits and underscores, and no digit at the start", "%s is not the name of a variable", quote(name))
	}
	for _, refused := range refusedEnv {
		prefix, isPrefix := strings.CutSuffix(refused.name, "*")
		if name == refused.name || isPrefix && strings.HasPrefix(name, prefix) {
			return faultf("set it inside the command, where the receipt shows it", "the variable %s is refused: %s", name, refused.why)
		}
	}
	return nil
}

// envName is the name of one variable.
var envName = scalar[string]{
	what:   "the name of a variable",
	parse:  func(text string) (string, *fault) { return text, envFault(text) },
	format: show[string],
	shape:  schema{Pattern: envNameText.String(), Not: &schema{Pattern: refusedEnvText()}},
}

// refusedEnvText is the table as one pattern, for the schema.
func refusedEnvText() string {
	var names []string
	for _, refused := range refusedEnv {
		names = append(names, strings.Replace(refused.name, "*", ".*", 1))
	}
	return "^(" + strings.Join(names, "|") + ")$"
}

// longestEnv bounds one variable: execve(2) takes no longer string than
// MAX_ARG_STRLEN, 128 KiB.
const longestEnv = 32 << 10

var envValue = scalar[string]{
	what: "text",
	parse: func(text string) (string, *fault) {
		if len(text) > longestEnv {
			return "", faultf("put it in a file of the workspace", "the value has %d bytes, more than the %d allowed", len(text), longestEnv)
		}
		return text, nil
	},
	format: show[string],
}

// mostEnv bounds the number of variables.
const mostEnv = 256

// environment is a mapping from names to values.
type environment struct{}

func (environment) read(d *decoder, path string, n *yaml.Node) []EnvVar {
	var vars []EnvVar
	pairs := d.mapping(path, n, "write env: {NAME: value}")
	if len(pairs) > mostEnv {
		d.problem(path, faultf("put them in a file of the workspace", "there are %d variables, more than the %d allowed", len(pairs), mostEnv))
		return nil
	}
	for _, p := range pairs {
		if f := envFault(p.key); f != nil {
			d.problemAt(p.where, p.path, f)
		}
		vars = append(vars, EnvVar{Name: p.key, Value: envValue.read(d, p.path, p.value)})
	}
	slices.SortFunc(vars, func(a, b EnvVar) int { return strings.Compare(a.Name, b.Name) })
	return vars
}

func (environment) write(vars []EnvVar) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	for _, v := range vars {
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: v.Name}, envValue.write(v.Value))
	}
	return n
}

func (environment) schema() *schema {
	return &schema{
		Type:          "object",
		MaxProperties: mostEnv,
		PropertyNames: envName.schema(),
		Additional:    envValue.schema(),
	}
}

package readme

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
	"github.com/creel-sandbox/creel/policy"
)

func TestReadmePolicyIsAcceptedAsPrinted(t *testing.T) {
	text := blocks(t, "yaml")[0]
	if _, problems := policy.Parse("README.md", []byte(text)); len(problems) > 0 {
		t.Errorf("the README's policy has problems: %v", problems)
	}
	if _, problems := policy.Parse("README.md", []byte(text+"surprise: yes\n")); len(problems) == 0 {
		t.Error("control: a policy with an unknown key was accepted")
	}
}

// TestReadmeAgentIsAcceptedAsPrinted, with the keys that it has in common with a
// Policy.
func TestReadmeAgentIsAcceptedAsPrinted(t *testing.T) {
	for _, text := range blocks(t, "yaml") {
		if !strings.HasPrefix(text, "kind: Agent") {
			continue
		}
		text += "apiVersion: creel/v1\nname: a\njustification: a\nowner: a\nreviewBy: 2099-01-01\nroot: {host: true}\nuser: openclaw\n"
		if _, problems := policy.Parse("README.md", []byte(text)); len(problems) > 0 {
			t.Errorf("the README's agent has problems: %v", problems)
		}
		return
	}
	t.Error("README.md has no agent")
}

// TestReadmeCommandsRunAsPrinted runs them against a supervisor that has the
// README's own policy, with this machine's user and directories.
func TestReadmeCommandsRunAsPrinted(t *testing.T) {
	r := testrig.Start(t, testrig.Options{})
	user := fmt.Sprintf("%q", fmt.Sprintf("%d:%d", testrig.User, testrig.User))
	gateway, err := net.Listen("tcp4", "127.0.0.1:0") // where OpenClaw would be
	if err != nil {
		t.Fatal(err)
	}
	defer gateway.Close()
	text := strings.NewReplacer(
		"127.0.0.1:18789", gateway.Addr().String(),
		"user: openclaw ", "user: "+user+" ", "/srv/openclaw/workspace", r.Workspace, "/var/log/openclaw", r.Workspace+"/../logs",
		"users: [openclaw]", `users: ["0"]`,
	).Replace(blocks(t, "yaml")[0])
	text = regexp.MustCompile(`(?m)^credentials:.*\n.*\n`).ReplaceAllString(text, "")
	text = strings.ReplaceAll(text, r.Workspace+"/../logs", r.Dir+"/logs")
	if err := os.Mkdir(r.Dir+"/logs", 0o755); err != nil {
		t.Fatal(err)
	}
	r.WritePolicy("exec-default", text)
	r.Reload()
	for _, line := range commands(t) {
		if !strings.HasPrefix(line, "creel ") {
			continue
		}
		t.Run(line, func(t *testing.T) {
			// The policy directory of an installed creel, for this command only.
			cmd := exec.Command("unshare", "-m", "bash", "-euc", `
				mkdir "$0/upper" "$0/work"; trap 'rm -rf "$0/upper" "$0/work"' EXIT
				mount -t overlay overlay -o "lowerdir=/etc,upperdir=$0/upper,workdir=$0/work" /etc
				mkdir -p /etc/creel; cp -r "$0/policies" /etc/creel/policies
				bash -euc "$1"; umount /etc`, r.Dir, line)
			cmd.Env = append(r.Command().Env, "PATH="+testrig.Binaries(t)+":"+os.Getenv("PATH"))
			if got := r.Run(cmd); got.Code != 0 {
				t.Errorf("ended with %d:\n%s%s", got.Code, got.Stdout, got.Stderr)
			}
		})
	}
}

// commands lists the lines of README's shell blocks.
func commands(t *testing.T) []string {
	t.Helper()
	var lines []string
	for _, block := range blocks(t, "sh") {
		lines = append(lines, strings.Split(strings.TrimSpace(block), "\n")...)
	}
	return lines
}

// TestQuickstartRunsAsPrinted also checks what the other command of the two
// is: what CI runs.
func TestQuickstartRunsAsPrinted(t *testing.T) {
	printed := strings.Join(commands(t), "\n")
	for _, want := range []string{"make quickstart", "make test"} {
		if !strings.Contains(printed, want) {
			t.Errorf("README.md does not print %q", want)
		}
	}
	if !strings.Contains(read(t, ".ci/run"), "make --no-print-directory test") {
		t.Error(".ci/run does not run the README's test command")
	}
	cmd := exec.Command("make", "quickstart")
	cmd.Dir = root()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("make quickstart: %v\n%s", err, out)
	}
	for _, want := range []string{"CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", `"seccompFilters"`} {
		if !strings.Contains(string(out), want) {
			t.Errorf("make quickstart does not show %q:\n%s", want, out)
		}
	}
}

package leak

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
	"github.com/creel-sandbox/creel/runner/api"
)

// rig is a supervisor with everything it writes on the disk, and a policy
// with a credential of either provider.
type rig struct {
	*testrig.Rig
	canary canary
	marker canary // in the arguments of every command
	digest string // of both values, as the command computes it
	leaked bool   // a search has found one of them
	asked  int    // how many invocations there were
}

// credentialsDir is where systemd would have put credentials: in memory.
const credentialsDir = vaultDir + "/credentials"

// crashDir is the working directory of all that a test starts.
const crashDir = "/var/tmp"

// helper is a credential helper. It takes the value from the same memory, and
// does what its argument says.
const helper = `#!/bin/sh
case $1 in
print) exec /bin/cat ` + vaultDir + `/value ;;
fail) /bin/cat ` + vaultDir + `/value; /bin/cat ` + vaultDir + `/value >&2; exit 3 ;;
wait) exec /bin/cat ` + vaultDir + `/fifo ;;
esac
`

const credentials = `credentials:
  - {env: EXEC_TOKEN, from: "exec:` + vaultDir + `/helper %"}
  - {env: SYSTEMD_TOKEN, from: "systemd:token"}
logs: {keep: 64KiB}
limits: {timeout: 1m, memory: 64MiB, output: 256KiB}`

// start puts the credentials in their places and starts a supervisor that
// logs all it can to the disk. The options' policy is added to each of its
// policies.
func start(t *testing.T, o testrig.Options) *rig {
	t.Helper()
	c := newCanary()
	helped, given := c.value("exec"), c.value("systemd")
	check(t, os.WriteFile(vaultDir+"/helper", []byte(helper), 0o755))
	check(t, os.WriteFile(vaultDir+"/value", []byte(helped+"\n"), 0o600))
	check(t, os.MkdirAll(credentialsDir, 0o700))
	check(t, os.RemoveAll(credentialsDir+"/token"))
	check(t, os.WriteFile(credentialsDir+"/token", []byte(given), 0o400))
	log, err := os.Create("/var/log/creeld.log")
	check(t, err)
	t.Cleanup(func() { check(t, log.Close()) })
	digest := sha256.Sum256([]byte(helped + " " + given))
	more := o.Policy
	o.Policy = more + strings.Replace(credentials, "%", "print", 1)
	// A crash tells all that it can, and where it happens is on the disk.
	o.Env = []string{"CREDENTIALS_DIRECTORY=" + credentialsDir, "GOTRACEBACK=crash"}
	o.Args, o.Log, o.Binaries = []string{"--debug"}, log, *binaries
	t.Chdir(crashDir)
	r := &rig{canary: c, marker: newCanary(), digest: hex.EncodeToString(digest[:]), Rig: testrig.Start(t, o)}
	r.WritePolicy("failing", r.PolicyText("failing", more+strings.Replace(credentials, "%", "fail", 1)))
	r.Reload()
	return r
}

// proof makes the command itself say, in the workspace, what it was given,
// without a byte of it in an argument or a file.
const proof = `printf %s "$EXEC_TOKEN $SYSTEMD_TOKEN" | sha256sum >digest; mv digest delivered; `

// command prepares a script, which proves that it has the credentials first.
func (r *rig) command(script string, flags ...string) *exec.Cmd {
	return r.prepare(flags, "sh", "-c", proof+script)
}

// prepare prepares any command, whose last argument is the marker.
func (r *rig) prepare(flags []string, argv ...string) *exec.Cmd {
	r.asked++
	return r.Command(slices.Concat([]string{"exec"}, flags, []string{"--"}, argv, []string{string(r.marker)})...)
}

// runs runs a script to its end, with the exit code given, and returns what
// it printed.
func (r *rig) runs(t *testing.T, code int, script string, flags ...string) testrig.Result {
	t.Helper()
	got := r.Run(r.command(script, flags...))
	if got.Code != code {
		t.Errorf("exit code %d, want %d; stderr: %s", got.Code, code, got.Stderr)
	}
	r.canary.absent(t, "stdout", got.Stdout)
	r.canary.absent(t, "stderr", got.Stderr)
	r.delivered(t)
	return got
}

// delivered fails unless the last command had both credentials.
func (r *rig) delivered(t *testing.T) {
	t.Helper()
	path := filepath.Join(r.Workspace, "delivered")
	data, err := os.ReadFile(path)
	check(t, err)
	check(t, os.Remove(path))
	if digest, _, _ := strings.Cut(string(data), " "); digest != r.digest {
		t.Errorf("the command did not have the credentials: digest %s, want %s", digest, r.digest)
	}
}

// background is an invocation under way.
type background struct {
	rig    *rig
	client *exec.Cmd
	id     string
	pid    int // of creel-init
	out    strings.Builder
}

// begin starts a script that does not end by itself, and returns once it has
// the credentials.
func (r *rig) begin(t *testing.T, script string, flags ...string) *background {
	t.Helper()
	b := &background{rig: r, client: r.command(script, flags...)}
	b.client.Stdout, b.client.Stderr = &b.out, &b.out
	check(t, b.client.Start())
	r.Eventually("the command runs", func() bool {
		_, err := os.Stat(filepath.Join(r.Workspace, "delivered"))
		return err == nil
	})
	r.delivered(t)
	var rows []api.Sandbox
	r.Eventually("ps shows it, and nothing else", func() bool {
		// The one before may still be on its way out.
		rows = slices.DeleteFunc(r.list(t), func(row api.Sandbox) bool { return row.Result != nil })
		return len(rows) == 1 && rows[0].State == "running" // which it is told to be after it began
	})
	b.id, b.pid = rows[0].ID, rows[0].Pid
	return b
}

// ends waits for the client and checks its exit code and output.
func (b *background) ends(t *testing.T, code int) {
	t.Helper()
	_ = b.client.Wait() // says what the exit code says
	if got := b.client.ProcessState.ExitCode(); got != code {
		t.Errorf("exit code %d, want %d; output: %s", got, code, b.out.String())
	}
	b.rig.canary.absent(t, "the output", b.out.String())
}

// list is what ps shows, which must not show a credential.
func (r *rig) list(t *testing.T, flags ...string) []api.Sandbox {
	t.Helper()
	text := r.operator(t, append([]string{"ps", "--json"}, flags...)...)
	var reply api.PsReply
	if err := json.Unmarshal([]byte(text), &reply); err != nil {
		t.Fatalf("decode ps: %v\n%s", err, text)
	}
	return reply.Sandboxes
}

// operator runs an operator's command, whose answer must not hold a credential.
func (r *rig) operator(t *testing.T, args ...string) string {
	t.Helper()
	got := r.Creel(args...)
	if got.Code != 0 {
		t.Errorf("creel %s: exit code %d: %s", args[0], got.Code, got.Stderr)
	}
	r.canary.absent(t, "creel "+args[0], got.Stdout+got.Stderr)
	return got.Stdout
}

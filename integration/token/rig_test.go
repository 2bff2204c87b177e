// Package token tests, with the real programs, what callers with an API token
// can do and what they cannot.
//
// It imports integration/testrig, and runner/token only to make a token that is
// older than a test can wait for. It never looks at a book but a rig's.
package token

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// The users that integrations run as: nobody's accounts, named in no policy.
const (
	runner = 61301
	other  = 61302
)

func TestMain(m *testing.M) { os.Exit(testrig.Main(m)) }

// rig is a supervisor with a socket for tokens.
type rig struct {
	*testrig.Rig
	t *testing.T
}

// start starts one whose default policy is for the tokens ci and cron, with
// further lines.
func start(t *testing.T, policy string) *rig {
	t.Helper()
	return &rig{testrig.Start(t, testrig.Options{
		Config: "tokenSocket: {everyone: true}\n",
		Policy: `callers: {users: ["0"], tokens: [ci, cron]}` + "\n" + policy,
	}), t}
}

// integration is a caller with a token in a file of its own.
type integration struct {
	*rig
	uid   uint32
	name  string
	file  string
	token string
}

// create makes a token as README says, and gives it to a user.
func (r *rig) create(uid uint32, name string, flags ...string) *integration {
	r.t.Helper()
	i := &integration{rig: r, uid: uid, name: name, file: filepath.Join(r.Dir, name+".token")}
	i.keep(r.Creel(append(append([]string{"token", "create"}, flags...), name)...))
	return i
}

// keep puts what create or rotate printed into the file.
func (i *integration) keep(got testrig.Result) {
	i.t.Helper()
	ok(i.t, got)
	i.token = strings.TrimSuffix(got.Stdout, "\n")
	check(i.t, os.RemoveAll(i.file))
	check(i.t, os.WriteFile(i.file, []byte(got.Stdout), 0o600))
	check(i.t, os.Chown(i.file, int(i.uid), int(i.uid)))
}

// command prepares a run of the client as the integration does it.
func (i *integration) command(args ...string) *exec.Cmd {
	i.t.Helper()
	cmd := i.CommandAs(i.uid, i.uid, args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "CREEL_SOCKET=" + i.Dir + "/run/token/token.sock", "CREEL_TOKEN_FILE=" + i.file}
	return cmd
}

func (i *integration) creel(args ...string) testrig.Result { return i.Run(i.command(args...)) }

func (i *integration) shell(script string) testrig.Result {
	return i.creel("exec", "--", "sh", "-c", script)
}

// begin starts a command that ends when it is ended, and waits until it runs.
func (i *integration) begin() *running {
	i.t.Helper()
	cmd := i.command("exec", "--", "sh", "-c", "echo up; exec sleep 1000")
	return begin(i.t, cmd)
}

// running is a client whose command runs.
type running struct {
	*exec.Cmd
	stderr strings.Builder
	ended  chan struct{}
}

func begin(t *testing.T, cmd *exec.Cmd) *running {
	t.Helper()
	c := &running{Cmd: cmd, ended: make(chan struct{})}
	cmd.Stderr = &c.stderr
	stdout, err := cmd.StdoutPipe()
	check(t, err)
	check(t, cmd.Start())
	t.Cleanup(func() { cmd.Process.Signal(syscall.SIGTERM); <-c.ended })
	line := make([]byte, 3)
	if _, err := io.ReadFull(stdout, line); err != nil || string(line) != "up\n" {
		t.Errorf("the command did not start: %q, %v", line, err)
	}
	go func() {
		defer close(c.ended)
		_ = cmd.Wait() // the code says how
	}()
	return c
}

// runs says whether the command still does.
func (c *running) runs() bool {
	select {
	case <-c.ended:
		return false
	default:
		return true
	}
}

// ends waits for the end, and checks how.
func (c *running) ends(t *testing.T, code int, words string) {
	t.Helper()
	<-c.ended
	if got := c.ProcessState.ExitCode(); got != code || !strings.Contains(c.stderr.String(), words) {
		t.Errorf("exit code %d, %q; want %d, %q", got, c.stderr.String(), code, words)
	}
}

// sandboxes is what ps lists of these, and the notices with it.
func sandboxes(t *testing.T, got testrig.Result) (list []sandbox) {
	t.Helper()
	ok(t, got)
	var reply struct{ Sandboxes []sandbox }
	check(t, json.Unmarshal([]byte(got.Stdout), &reply))
	return reply.Sandboxes
}

type sandbox struct {
	ID, State, Caller, Command string
	Pid                        int
}

func ok(t *testing.T, got testrig.Result) {
	t.Helper()
	if got.Code != 0 {
		t.Fatalf("exit code %d: %s", got.Code, got.Stderr)
	}
}

// refused fails unless creel itself refused, in these words.
func refused(t *testing.T, got testrig.Result, words ...string) {
	t.Helper()
	if got.Code != 125 || got.Stdout != "" {
		t.Errorf("not refused: %+v", got)
	}
	for _, word := range words {
		if !strings.Contains(got.Stderr, word) {
			t.Errorf("messages:\n%swant %q there", got.Stderr, word)
		}
	}
	if regexp.MustCompile("creel_[a-z2-7]{8}").MatchString(got.Stderr) {
		t.Errorf("messages hold a token: %s", got.Stderr)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

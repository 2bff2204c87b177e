package lifecycle

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// waiting is an invocation that ends with code 7 once it reads a line.
type waiting struct {
	client *exec.Cmd
	stdin  io.WriteCloser
	stderr bytes.Buffer
	result string // the file of --result
}

// wait starts n of them and returns once all run.
func wait(t *testing.T, r *testrig.Rig, n int) []*waiting {
	t.Helper()
	all := make([]*waiting, n)
	var ready sync.WaitGroup
	for i := range all {
		w := &waiting{result: fmt.Sprintf("%s/result-%d", r.Dir, i)}
		w.client = r.Command("exec", "-i", "--result", w.result, "--", "sh", "-c", "echo up; read line; exit 7")
		w.client.Stderr = &w.stderr
		stdin, err := w.client.StdinPipe()
		check(t, err)
		stdout, err := w.client.StdoutPipe()
		check(t, err)
		check(t, w.client.Start())
		w.stdin, all[i] = stdin, w
		ready.Go(func() {
			if said, _ := io.ReadFull(stdout, make([]byte, 3)); said != 3 {
				t.Errorf("invocation %d does not run", i)
			}
		})
	}
	ready.Wait()
	if t.Failed() {
		t.Fatal(r.Log())
	}
	return all
}

// ends waits for the client's own end and checks what the caller is told.
func (w *waiting) ends(t *testing.T, what, reason string, code int, says string) {
	t.Helper()
	_ = w.client.Wait() // says what the exit code says
	data, err := os.ReadFile(w.result)
	check(t, err)
	var told struct {
		Reason   string `json:"reason"`
		ExitCode int    `json:"exitCode"`
	}
	check(t, json.Unmarshal(data, &told))
	if got := w.client.ProcessState.ExitCode(); got != code || told.ExitCode != code || told.Reason != reason || !strings.Contains(w.stderr.String(), says) {
		t.Errorf("%s: ended with %d, result %s, said %q; want %d, %q and %q", what, got, data, &w.stderr, code, reason, says)
	}
}

// listed checks that what ps lists as running, in both its forms, is exactly
// what the kernel has, and that this is as many as it should be. What has
// ended may be listed as ending while the daemon still has its container.
func listed(t *testing.T, r *testrig.Rig, when string, want int) []testrig.Sandbox {
	t.Helper()
	began := time.Now()
	rows := r.List()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("%s: ps took %v", when, took)
	}
	table, inits := r.Creel("ps").Stdout, sandboxInits(r)
	var pids []int
	rows = slices.DeleteFunc(rows, func(one testrig.Sandbox) bool { return one.State == "ending" && one.Processes == 0 })
	for _, one := range rows {
		pids = append(pids, one.Pid)
		if one.State != "running" || one.Processes != 2 || !strings.Contains(table, one.ID) {
			t.Errorf("%s: ps lists %+v", when, one)
		}
	}
	slices.Sort(pids)
	if !slices.Equal(pids, inits) || len(inits) != want || strings.Count(table, " running ") != want {
		t.Errorf("%s: ps lists the inits %v, the kernel has %v, want %d; as a table:\n%s", when, pids, inits, want, table)
	}
	return rows
}

// sandboxInits lists, by pid, what is PID 1 of its namespace in the control
// groups of a rig's sandboxes (proc(5), NSpid).
func sandboxInits(r *testrig.Rig) []int {
	var inits []int
	for _, membership := range glob("/proc/[0-9]*/cgroup") {
		data, _ := os.ReadFile(membership)
		status, _ := os.ReadFile(filepath.Dir(membership) + "/status")
		_, numbers, _ := strings.Cut(string(status), "\nNSpid:")
		numbers, _, _ = strings.Cut(numbers, "\n")
		if f := strings.Fields(numbers); len(f) > 1 && f[len(f)-1] == "1" && strings.Contains(string(data), ":"+r.Group()+"/") {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(membership)))
			inits = append(inits, pid)
		}
	}
	slices.Sort(inits)
	return inits
}

// unavailable checks that a launch without a daemon fails as creel fails, in
// bounded time.
func unavailable(t *testing.T, r *testrig.Rig, when string, bound time.Duration) {
	t.Helper()
	began := time.Now()
	refused(t, when, r.Exec("true"), "Docker daemon at "+testrig.Daemon().Socket, "systemctl status docker")
	if took := time.Since(began); took > bound {
		t.Errorf("%s: the launch failed after %v, want at most %v", when, took, bound)
	}
}

// TestDockerDaemonKilledAmidTwentyInvocations: they go on without it, are
// listed and end as ever. A daemon that comes back ends those it finds, unless
// it was told live-restore; their callers are told that it was not the command
// and not creel.
func TestDockerDaemonKilledAmidTwentyInvocations(t *testing.T) {
	r := testrig.Start(t, testrig.Options{Target: byDocker})
	before := idle(t, r)
	all := wait(t, r, 20)
	listed(t, r, "with the daemon", 20)
	testrig.Daemon().KillDaemon()

	listed(t, r, "without the daemon", 20)
	unavailable(t, r, "without the daemon", 5*time.Second)
	for i, w := range all[:6] {
		began := time.Now()
		check(t, w.stdin.Close())
		w.ends(t, fmt.Sprintf("invocation %d, by itself", i), "exited", 7, "")
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("invocation %d took %v to end", i, took)
		}
	}
	check(t, all[6].client.Process.Kill())
	_ = all[6].client.Wait()
	r.Eventually("seven have ended", func() bool { return len(sandboxInits(r)) == 13 })
	rows := listed(t, r, "without the daemon, after seven ends", 13)
	if got := r.Creel("kill", rows[0].ID); got.Code != 0 {
		t.Errorf("kill: %+v", got)
	}
	r.Eventually("eight have ended", func() bool { return len(sandboxInits(r)) == 12 })
	listed(t, r, "without the daemon, after eight ends", 12)

	testrig.Daemon().StartDaemon()
	killed := 0
	for i, w := range all[7:] {
		_ = w.client.Wait()
		if bytes.Contains(w.stderr.Bytes(), []byte("ended by an operator")) {
			killed++
			continue
		}
		w.ends(t, fmt.Sprintf("invocation %d, by the daemon", i+7), "lost", 137, "creel: error: the sandbox was ended from outside")
	}
	if killed != 1 {
		t.Errorf("%d invocations say that an operator has ended them, want the one that was", killed)
	}
	r.Eventually("nothing is listed", func() bool { return len(r.List()) == 0 })
	listed(t, r, "with the daemon again", 0)
	if got := r.Shell("exit 7"); got.Code != 7 {
		t.Errorf("with the daemon again, a command ended with %d: %s", got.Code, got.Stderr)
	}
	settle(t, r, before)
}

// TestFrozenDockerDaemonIsGivenUpInBoundedTime, and a launch that it takes up
// once it goes on leaves nothing.
func TestFrozenDockerDaemonIsGivenUpInBoundedTime(t *testing.T) {
	r := testrig.Start(t, testrig.Options{Target: byDocker})
	before := idle(t, r)
	all := wait(t, r, 2)
	d := testrig.Daemon()
	d.Freeze()
	thawed := false
	defer func() {
		if !thawed {
			d.Thaw()
		}
	}()
	unavailable(t, r, "with the daemon frozen", 45*time.Second)
	rows := listed(t, r, "with the daemon frozen", 2)
	check(t, all[0].stdin.Close())
	all[0].ends(t, "by itself, with the daemon frozen", "exited", 7, "")
	r.Eventually("one has ended", func() bool { return len(sandboxInits(r)) == 1 })
	left := listed(t, r, "with the daemon frozen, after an end", 1)
	if !slices.ContainsFunc(rows, func(one testrig.Sandbox) bool { return one.ID == left[0].ID }) {
		t.Errorf("ps lists %+v, which was not there: %+v", left, rows)
	}
	d.Thaw()
	thawed = true
	check(t, all[1].stdin.Close())
	all[1].ends(t, "by itself", "exited", 7, "")
	settle(t, r, before)
	if got := r.Shell("exit 7"); got.Code != 7 {
		t.Errorf("afterwards a command ended with %d: %s", got.Code, got.Stderr)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

package lifecycle

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// refused checks that the client failed as creel fails: with its own code, an
// error that names what is wrong, and a hint.
func refused(t *testing.T, what string, got testrig.Result, names ...string) {
	t.Helper()
	if got.Code != 125 {
		t.Errorf("%s: ended with %d, want 125", what, got.Code)
	}
	for _, want := range append(names, "creel: error: ", "creel: hint: ") {
		if !strings.Contains(got.Stderr, want) {
			t.Errorf("%s: said %q, without %q", what, got.Stderr, want)
		}
	}
}

// TestBadRequestsAreRefusedClearly and leave nothing behind.
func TestBadRequestsAreRefusedClearly(t *testing.T) {
	onEachMaker(t, "env: {FIXED: yes-it-is}", func(t *testing.T, r *testrig.Rig) {
		r.WritePolicy("gone", strings.ReplaceAll(r.PolicyText("gone", ""), r.Workspace, r.Dir+"/gone"))
		r.WritePolicy("linked", strings.ReplaceAll(r.PolicyText("linked", ""), r.Workspace, r.Dir+"/link"))
		r.WritePolicy("others", r.PolicyText("others", `callers: {users: ["1"]}`))
		r.WritePolicy("nobody", r.PolicyText("nobody", "user: no-such-user"))
		r.WritePolicy("helper", r.PolicyText("helper", `credentials: [{env: TOKEN, from: "exec:/usr/bin/false"}]`))
		r.WritePolicy("missing", r.PolicyText("missing", `credentials: [{env: TOKEN, from: "systemd:no-such"}]`))
		r.WritePolicy("unserved", r.PolicyText("unserved", "network: {gateway: "+unserved(t)+"}"))
		if err := os.Symlink(r.Workspace, r.Dir+"/link"); err != nil {
			t.Fatal(err)
		}
		r.Reload()
		cases := []struct {
			args  []string
			names []string
		}{
			{[]string{"--policy", "no-such", "--", "true"}, []string{"no-such", "exec-default"}},
			{[]string{"--policy", "others", "--", "true"}, []string{"others"}},
			{[]string{"--policy", "gone", "--", "true"}, []string{r.Dir + "/gone", "does not exist"}},
			{[]string{"--policy", "linked", "--", "true"}, []string{r.Dir + "/link", "symlink"}},
			{[]string{"--policy", "nobody", "--", "true"}, []string{"no-such-user"}},
			{[]string{"--policy", "helper", "--", "true"}, []string{"TOKEN", "/usr/bin/false"}},
			{[]string{"--policy", "missing", "--", "true"}, []string{"TOKEN", "no-such"}},
			{[]string{"--policy", "unserved", "--", "true"}, []string{"unserved", "127.0.0.1:", "connection refused"}},
			{[]string{"--cwd", "/proc/self", "--", "true"}, []string{"/proc/self"}},
			{[]string{"--cwd", "/no/where", "--", "true"}, []string{"/no/where"}},
			{[]string{"--cwd", "relative", "--", "true"}, []string{"relative"}},
			{[]string{"-e", "FIXED=no", "--", "true"}, []string{"FIXED"}},
			{[]string{"--timeout", "-1s", "--", "true"}, []string{"timeout"}},
			{[]string{}, nil},
		}
		for _, c := range cases { // so that what is made once, such as a policy's root, is there
			r.Creel(append([]string{"exec"}, c.args...)...)
		}
		before := idle(t, r)
		for _, c := range cases {
			refused(t, strings.Join(c.args, " ")[:min(60, len(strings.Join(c.args, " ")))], r.Creel(append([]string{"exec"}, c.args...)...), c.names...)
		}
		large := strings.Fields(strings.Repeat(strings.Repeat("x", 100<<10)+" ", 10))
		if got := r.Exec(append([]string{"sh", "-c", "echo $#", "sh"}, large...)...); got.Stdout != "10\n" {
			t.Errorf("control: 1 MiB of arguments: said %q: %s", got.Stdout, got.Stderr)
		}
		settle(t, r, before)
	})
}

// unserved is an address of the loopback where nothing listens.
func unserved(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// TestCallersHaveOnlyTheRightsOfTheirUID uses two users without a name: one
// that a policy admits, and one that none does.
func TestCallersHaveOnlyTheRightsOfTheirUID(t *testing.T) {
	r := testrig.Start(t, testrig.Options{})
	as := func(uid, gid uint32, args ...string) testrig.Result {
		return r.Run(r.CommandAs(uid, gid, args...))
	}
	const nogroup = 65534
	if got := as(testrig.User, nogroup, "exec", "--", "sh", "-c", "exit 7"); got.Code != 7 {
		t.Errorf("control: the admitted caller ended with %d: %s", got.Code, got.Stderr)
	}
	refused(t, "a caller that no policy names", as(61235, nogroup, "exec", "--", "true"), "61235")
	refused(t, "a caller outside the socket's group", as(testrig.User, 61235, "exec", "--", "true"), "exec.sock")
	for _, args := range [][]string{{"ps"}, {"kill", "--all"}, {"doctor"}} {
		if got := as(testrig.User, nogroup, args...); got.Code == 0 || !strings.Contains(got.Stderr, "creel: error: ") {
			t.Errorf("%v as a caller ended with %d: %s%s", args, got.Code, got.Stdout, got.Stderr)
		}
	}
}

// TestFullDiskIsRefusedClearly gives the supervisor a runtime directory
// without a byte or an inode left.
func TestFullDiskIsRefusedClearly(t *testing.T) {
	r := testrig.Start(t, testrig.Options{})
	r.StopSupervisor()
	run := filepath.Join(r.Dir, "run")
	if err := syscall.Mount("tmpfs", run, "tmpfs", 0, "size=512k,mode=0711"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.StopSupervisor()
		if err := syscall.Unmount(run, 0); err != nil {
			t.Error(err)
		}
	})
	r.StartSupervisor()
	before := idle(t, r)
	fill := filepath.Join(run, "fill")
	full := make([]byte, 1<<20)
	if err := os.WriteFile(fill, full, 0o600); err == nil {
		t.Fatal("control: the disk is not full")
	}
	refused(t, "full disk", r.Exec("true"), "no space left")
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	if got := r.Exec("true"); got.Code != 0 {
		t.Errorf("control: with space again, ended with %d: %s", got.Code, got.Stderr)
	}
	settle(t, r, before)
}

// TestMissingRuntimeIsRefusedClearly hides both runtimes from one supervisor.
func TestMissingRuntimeIsRefusedClearly(t *testing.T) {
	r := testrig.Start(t, testrig.Options{})
	r.StopSupervisor()
	cmd := exec.Command("unshare", "-m", "sh", "-c",
		`mount --bind /dev/null /usr/bin/crun && mount --bind /dev/null /usr/sbin/runc && exec "$0" --config "$1"`,
		filepath.Join(testrig.Binaries(t), "creeld"), r.Dir+"/creel.yaml")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "creeld: error: find OCI runtime") {
		t.Errorf("without a runtime creeld said %v: %s", err, out)
	}
	r.StartSupervisor()
	if got := r.Exec("true"); got.Code != 0 {
		t.Errorf("control: ended with %d: %s", got.Code, got.Stderr)
	}
}

package lifecycle

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
)

// groupOf gives the control group of a sandbox: the engine names it.
func groupOf(t *testing.T, r *testrig.Rig, id string) string {
	t.Helper()
	var one struct {
		Cgroup string `json:"cgroup"`
	}
	if got := r.Creel("inspect", id); json.Unmarshal([]byte(got.Stdout), &one) != nil || one.Cgroup == "" {
		t.Fatalf("inspect said %q %q", got.Stdout, got.Stderr)
	}
	return one.Cgroup
}

// TestListIsWhatTheKernelHas: what runs is listed, what the kernel has ended
// behind the supervisor's back is not, and an ended one is a memory of -a.
func TestListIsWhatTheKernelHas(t *testing.T) {
	onEachMaker(t, "", func(t *testing.T, r *testrig.Rig) {
		r.Group() // runs a command of its own, once
		r.Eventually("idle", func() bool { return len(r.List()) == 0 })
		client, _ := launch(t, r)
		rows := r.List()
		if len(rows) != 1 || rows[0].State != "running" || rows[0].Processes < 4 || rows[0].Pid == 0 {
			t.Fatalf("control: a running sandbox is listed as %+v", rows)
		}
		if groups := controlGroups(r); len(groups) == 0 || !strings.Contains(groups[0], groupOf(t, r, rows[0].ID)) {
			t.Errorf("the listed %s is not among the kernel's %v", rows[0].ID, groups)
		}
		if err := syscall.Kill(rows[0].Pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		_ = client.Wait()
		if code := client.ProcessState.ExitCode(); code != 137 {
			t.Errorf("the client ended with %d, want 137", code)
		}
		r.Eventually("the ended sandbox is not listed", func() bool { return len(r.List()) == 0 })
		if all := r.List("-a"); len(all) == 0 || all[0].ID != rows[0].ID || all[0].State != "ended" {
			t.Errorf("ps -a lists %+v", all)
		}
	})
}

// TestWeakerModeIsNamedInTheList: without a user namespace the other promises
// still hold, and the list says what was given up.
func TestWeakerModeIsNamedInTheList(t *testing.T) {
	onEachMaker(t, "userNamespace: off", func(t *testing.T, r *testrig.Rig) {
		client, _ := launch(t, r)
		if rows := r.List(); len(rows) != 1 || fmt.Sprint(rows[0].Weaker) != "[userNamespace: off]" {
			t.Errorf("listed as %+v", rows)
		}
		_ = client.Process.Kill()
		_ = client.Wait()
		got := r.Shell(`grep -cE "^Cap(Inh|Prm|Eff|Bnd|Amb):.0{16}$" /proc/self/status; id -u`)
		if want := fmt.Sprintf("5\n%d\n", testrig.User); got.Stdout != want {
			t.Errorf("said %q, want %q: %s", got.Stdout, want, got.Stderr)
		}
	})
	r := testrig.Start(t, testrig.Options{})
	client, _ := launch(t, r)
	if rows := r.List(); len(rows) != 1 || len(rows[0].Weaker) != 0 {
		t.Errorf("control: listed as %+v", rows)
	}
	_ = client.Process.Kill()
	_ = client.Wait()
}

// TestReloadKeepsTheLastGoodPolicies, and says so wherever an operator looks.
func TestReloadKeepsTheLastGoodPolicies(t *testing.T) {
	r := testrig.Start(t, testrig.Options{})
	r.WritePolicy("exec-default", r.PolicyText("exec-default", "surprise: yes"))
	reload := r.Creel("reload")
	if reload.Code != 125 {
		t.Errorf("the reload ended with %d", reload.Code)
	}
	if got := r.Shell("exit 7"); got.Code != 7 {
		t.Errorf("the last good policy is not in force: %d %s", got.Code, got.Stderr)
	}
	where := filepath.Join(r.Policies, "exec-default.yaml")
	doctor, ps := r.Creel("doctor"), r.Creel("ps")
	for name, said := range map[string]string{"reload": reload.Stderr, "the log": r.Log(), "doctor": doctor.Stdout + doctor.Stderr, "ps": ps.Stdout + ps.Stderr} {
		if !strings.Contains(said, where) || !strings.Contains(said, "surprise") {
			t.Errorf("%s does not name the broken file and key: %s", name, said)
		}
	}
	r.WritePolicy("exec-default", r.PolicyText("exec-default", "env: {NEW: policy}"))
	r.Reload()
	if got := r.Shell("echo $NEW"); got.Stdout != "policy\n" {
		t.Errorf("a mended policy is not in force: %q %s", got.Stdout, got.Stderr)
	}
	r.WritePolicy("exec-default", r.PolicyText("exec-default", "env: {NEW: signalled}"))
	if err := syscall.Kill(r.Pid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	r.Eventually("a policy is in force after SIGHUP", func() bool { return r.Shell("echo $NEW").Stdout == "signalled\n" })
	if ps := r.Creel("ps"); strings.Contains(ps.Stdout+ps.Stderr, "surprise") {
		t.Errorf("ps still complains: %s%s", ps.Stdout, ps.Stderr)
	}
}

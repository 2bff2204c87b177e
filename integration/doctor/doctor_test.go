// Package doctor asks creel doctor about hosts whose engines are well, gone
// or stuck.
//
// It imports testrig and dockerd, and never anything of runner.
package doctor

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/dockerd"
	"github.com/creel-sandbox/creel/integration/testrig"
)

// finding is one of the findings of creel doctor --json.
type finding struct{ Name, Level, Detail, Hint string }

// ask gives the findings by their names, and doctor's exit code.
func ask(t *testing.T, r *testrig.Rig) (map[string]finding, int) {
	t.Helper()
	got := r.Creel("doctor", "--json")
	var reply struct{ Findings []finding }
	if err := json.Unmarshal([]byte(got.Stdout), &reply); err != nil {
		t.Fatalf("doctor: %v\n%s%s", err, got.Stdout, got.Stderr)
	}
	found := map[string]finding{}
	for _, f := range reply.Findings {
		found[f.Name] = f
	}
	return found, got.Code
}

func expect(t *testing.T, found map[string]finding, name, level, detail string) {
	t.Helper()
	if f := found[name]; f.Level != level || !strings.Contains(f.Detail, detail) || level == "error" && f.Hint == "" && !strings.HasPrefix(name, "policy") {
		t.Errorf("%s: want %s and %q, got %+v", name, level, detail, f)
	}
}

// host starts a supervisor whose policies use both engines.
func host(t *testing.T, runtime, socket string) *testrig.Rig {
	t.Helper()
	r := testrig.Start(t, testrig.Options{Runtime: runtime, Config: "dockerSocket: " + socket + "\n"})
	r.WritePolicy("docked", r.PolicyText("docked", "engine: docker\nuserNamespace: off"))
	r.Reload()
	return r
}

func TestDoctorTellsOfEachEngine(t *testing.T) {
	d := dockerd.Start(t, dockerd.Options{})
	for _, runtime := range testrig.Runtimes {
		t.Run(runtime, func(t *testing.T) {
			r := host(t, runtime, d.Socket)
			found, code := ask(t, r)
			if code != 0 {
				t.Errorf("exit code %d", code)
			}
			expect(t, found, "engine oci", "ok", runtime+" version ")
			expect(t, found, "engine docker", "ok", "Docker ")
			expect(t, found, "docker control groups", "ok", "driver cgroupfs")
			expect(t, found, "docker user namespaces", "ok", "userNamespace: off")
			expect(t, found, "docker advisories", found["docker advisories"].Level, "runc ")
			expect(t, found, "oci advisories", found["oci advisories"].Level, runtime+" ")
			expect(t, found, "policy exec-default", "ok", "by oci")
			expect(t, found, "policy docked", "ok", "by docker")
		})
	}
}

func TestDoctorTellsOfADaemonThatIsGoneOrStuck(t *testing.T) {
	d := dockerd.Start(t, dockerd.Options{})
	r := host(t, testrig.Runtimes[0], d.Socket)
	gone := func(what, detail string) {
		t.Helper()
		found, code := ask(t, r)
		if code != 1 {
			t.Errorf("%s: exit code %d", what, code)
		}
		expect(t, found, "engine docker", "error", detail)
		expect(t, found, "engine docker", "error", "it is used by docked")
		expect(t, found, "policy exec-default", "ok", "by oci")
	}
	d.Freeze()
	gone("stuck", "no answer within ")
	d.Thaw()
	if found, code := ask(t, r); code != 0 || found["engine docker"].Level != "ok" {
		t.Errorf("control, back again: %d, %+v", code, found["engine docker"])
	}
	d.KillDaemon()
	gone("killed", "is it running?")
}

func TestDoctorPrintsATableAndThenHints(t *testing.T) {
	r := host(t, testrig.Runtimes[0], "/nonexistent/docker.sock")
	got := r.Creel("doctor")
	table, hints, _ := strings.Cut(got.Stdout, "\nengine docker: hint: ")
	if got.Code != 1 || !strings.HasPrefix(table, "LEVEL ") || !strings.Contains(table, "engine docker") || !strings.HasPrefix(hints, "systemctl start docker") {
		t.Errorf("ended with %d:\n%s%s", got.Code, got.Stdout, got.Stderr)
	}
}

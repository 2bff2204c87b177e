package docker

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/creel-sandbox/creel/profiles"
)

var update = flag.Bool("update", false, "write the golden file anew")

// All that the daemon is told of a sandbox, so that a reviewer sees each
// change. What depends on the machine is replaced.
func TestDaemonIsToldThisAndNoMore(t *testing.T) {
	const golden = "testdata/create.json"
	told := map[string][]byte{}
	var r *rig
	for _, driver := range []string{"cgroupfs", "systemd"} {
		sound := info(map[string]any{"CgroupDriver": driver})
		r = newRig(t, serve(t, func(w http.ResponseWriter, req *http.Request) {
			if strings.HasSuffix(req.URL.Path, "/containers/create") {
				told[driver], _ = io.ReadAll(req.Body)
			}
			sound(w, req)
		}), 0)
		p := r.policy(hostRoot)
		root := r.prepare(p)
		if _, err := r.Create(t.Context(), request("id", p, root)); err == nil {
			t.Fatal("the daemon that refuses was not heard")
		}
		var parent struct{ HostConfig struct{ CgroupParent string } }
		check(t, json.Unmarshal(told[driver], &parent))
		want := map[string]string{"cgroupfs": r.cfg.Cgroups.Parent + "-docker", "systemd": "creel-" + r.name + ".slice"}[driver]
		if got := parent.HostConfig.CgroupParent; got != want {
			t.Errorf("driver %s: control group %s, want %s", driver, got, want)
		}
	}
	got := normalized(t, r, told["systemd"])
	if *update {
		check(t, os.WriteFile(golden, got, 0o644))
	}
	want, err := os.ReadFile(golden)
	check(t, err)
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("go test -update writes it anew:\n%s", diff)
	}
}

func normalized(t *testing.T, r *rig, body []byte) []byte {
	t.Helper()
	var all map[string]any
	check(t, json.Unmarshal(body, &all))
	host := all["HostConfig"].(map[string]any)
	for _, limit := range host["Ulimits"].([]any) {
		if l := limit.(map[string]any); l["Name"] == "nofile" {
			l["Hard"] = "the supervisor's"
		}
	}
	var kept []any
	for _, mount := range host["Mounts"].([]any) {
		// Which of /bin, /lib… are directories of their own is the host's business.
		if target := mount.(map[string]any)["Target"].(string); target == "/usr" || strings.Count(target, "/") > 1 || target == "/workspace" {
			kept = append(kept, mount)
		}
	}
	host["Mounts"] = kept
	host["MaskedPaths"], host["ReadonlyPaths"] = "those of package spec", "those of package spec"
	options := host["SecurityOpt"].([]any)
	if options[1] == "seccomp="+string(profiles.Floor()) {
		options[1] = "seccomp=the floor"
	}
	initPath, err := buildInit()
	check(t, err)
	out, err := json.MarshalIndent(all, "", "\t")
	check(t, err)
	for from, to := range map[string]string{r.dir: "DIR", initPath: "CREEL-INIT", r.name: "SUPERVISOR"} {
		out = bytes.ReplaceAll(out, []byte(from), []byte(to))
	}
	return append(out, '\n')
}

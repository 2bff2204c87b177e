package docker

import (
	"strings"
	"testing"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/system"
)

func TestExamineNamesTheRuntimeAsItIs(t *testing.T) {
	r := realRig(t)
	health, err := r.Examine(t.Context())
	check(t, err)
	want := r.daemon.Docker("version", "--format", `{{range .Server.Components}}{{if eq .Name "runc"}}{{.Version}} {{index .Details "GitCommit"}}{{end}}{{end}}`)
	if len(health.Builds) != 1 || health.Builds[0].Runtime != "runc" || !strings.Contains(want, strings.TrimPrefix(health.Builds[0].String(), "runc ")) {
		t.Errorf("made with %v, docker version says %q", health.Builds, want)
	}
	if !strings.HasPrefix(health.Version, "Docker ") || len(health.Notes) < 2 {
		t.Errorf("it says %+v", health)
	}
	for _, note := range health.Notes {
		if note.Warning {
			t.Errorf("a daemon that works is warned of: %+v", note)
		}
	}
}

// warnings puts what an operator is warned of into one line.
func warnings(info system.Info) string {
	var found []string
	for _, note := range notes(info) {
		if note.Warning {
			found = append(found, note.Found)
		}
	}
	return strings.Join(found, "; ")
}

func TestExamineWarnsOfWhatADaemonLacks(t *testing.T) {
	able := system.Info{MemoryLimit: true, SwapLimit: true, CPUCfsQuota: true, PidsLimit: true, SecurityOptions: []string{"name=seccomp,profile=default"}}
	if got := warnings(able); got != "" {
		t.Errorf("control: %q", got)
	}
	lacking := able
	lacking.SwapLimit, lacking.PidsLimit, lacking.SecurityOptions = false, false, []string{"name=apparmor"}
	if got := warnings(lacking); got != "the daemon has none, so no sandbox of it would pass; the daemon cannot limit swap; the daemon cannot limit pids" {
		t.Errorf("got %q", got)
	}
}

func TestRuntimeOfAnotherNameIsNotGuessed(t *testing.T) {
	version := types.Version{Components: []types.ComponentVersion{
		{Name: "containerd", Version: "1.7.24"},
		{Name: "runc", Version: "1.1.5+ds1", Details: map[string]string{"GitCommit": "1.1.5+ds1-1+deb12u1"}},
		{Name: "custom", Version: "1.3.6"},
	}}
	if build, ok := runtimeOf(version, "runc"); !ok || build.Package != "1.1.5+ds1-1+deb12u1" {
		t.Errorf("control: %+v, %v", build, ok)
	}
	for _, name := range []string{"custom", "crun", "containerd", ""} {
		if build, ok := runtimeOf(version, name); ok {
			t.Errorf("%q is taken for %v", name, build)
		}
	}
}

package supervisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/advisory"
	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/engine"
	"github.com/creel-sandbox/creel/runner/rootfs"
)

// told gives the doctor's findings by their names; those of one name are
// joined.
func (r *rig) told() map[string]api.Finding {
	r.t.Helper()
	reply, err := r.Doctor(r.t.Context())
	check(r.t, err)
	found := map[string]api.Finding{}
	for _, f := range reply.Findings {
		if old, ok := found[f.Name]; ok {
			f.Detail = old.Detail + "\n" + f.Detail
		}
		found[f.Name] = f
	}
	return found
}

func TestDoctorTellsOfTheHostAndItsEngines(t *testing.T) {
	for _, runtime := range runtimes {
		t.Run(runtime, func(t *testing.T) {
			r := newRig(t, options{runtime: runtime})
			found := r.told()
			for _, name := range []string{"kernel", "control groups", "seccomp", "user namespaces", "creel-init", "configuration", "engine oci", "policy exec-default"} {
				if found[name].Level != levelOK {
					t.Errorf("%s: %+v", name, found[name])
				}
			}
			if !strings.HasPrefix(found["engine oci"].Detail, runtime+" version ") {
				t.Errorf("engine oci: %+v", found["engine oci"])
			}
			health, err := r.oci.Examine(t.Context())
			if err != nil || len(health.Builds) != 1 || health.Builds[0].Runtime != runtime {
				t.Fatalf("health %+v, %v", health, err)
			}
			for _, f := range advisory.Check(health.Builds[0]) {
				told := found["oci "+f.CVE]
				if want := f.State == advisory.Open && f.Unused == ""; want != (told.Level == levelWarning) {
					t.Errorf("%s is %s, the doctor says %+v", f.CVE, f.State, told)
				}
			}
		})
	}
}

func TestDoctorWarnsOfEachHoleAndHowToMendIt(t *testing.T) {
	build := func(text string) string {
		b, err := advisory.Parse(text)
		check(t, err)
		var lines []string
		for _, f := range advisoryFindings(b) {
			lines = append(lines, strings.Join([]string{f.Level, f.Name, f.Detail, f.Hint}, "|"))
		}
		return strings.Join(lines, "\n")
	}
	bookworm := build("runc version 1.1.5+ds1\ncommit: 1.1.5+ds1-1\n")
	for _, want := range []string{
		"warning|CVE-2024-21626|runc 1.1.5+ds1-1 has it: ", "|fixed in runc 1.1.12 and in package 1.1.5+ds1-1+deb12u1 (DSA-5615-1); crun is not affected directly",
		"warning|CVE-2025-31133|", "|fixed in runc 1.2.8, 1.3.3, 1.4.0-rc.3; of a fixed package of this distribution nothing is known here; crun does not seem to have it (containers/crun#1906)",
		"ok|advisories|runc 1.1.5+ds1-1 has the fix of CVE-2019-5736|",
	} {
		if !strings.Contains(bookworm, want) {
			t.Errorf("%q is missing in\n%s", want, bookworm)
		}
	}
	untold := build("runc version 1.1.12\ncommit: 1.1.12-3.el9\n")
	if !strings.Contains(untold, "warning|advisories|the version of runc 1.1.12-3.el9 does not tell whether it has CVE-2025-31133, CVE-2025-52565") {
		t.Errorf("an untold state is told as\n%s", untold)
	}
	if fixed := build("runc version 1.4.3\n"); strings.Contains(fixed, levelWarning) || !strings.Contains(fixed, "CVE-2026-41579") {
		t.Errorf("a runc without holes is told as\n%s", fixed)
	}
	if crun := build("crun version 1.8.1\n"); strings.Contains(crun, levelWarning) || !strings.Contains(crun, "may have CVE-2025-24965 (creel never asks for a handler)") {
		t.Errorf("holes that creel does not reach are told as\n%s", crun)
	}
}

func TestDoctorNamesPoliciesThatCannotRun(t *testing.T) {
	r := newRig(t, options{more: map[string]string{
		"elsewhere": "mounts: [{kind: workspace, source: /srv/creel-no-such-directory, target: /workspace, mode: rw}]",
		"docker":    "engine: docker\nuserNamespace: \"off\"",
	}})
	found := r.told()
	if f := found["policy elsewhere"]; f.Level != levelError || !strings.Contains(f.Detail, "/srv/creel-no-such-directory") || !strings.Contains(f.Hint, "create the directory") {
		t.Errorf("a policy without its directory: %+v", f)
	}
	if f := found["engine docker"]; f.Level != levelError || !strings.HasSuffix(f.Detail, "it is used by docker") || f.Hint == "" {
		t.Errorf("an engine that is used and not there: %+v", f)
	}
	if f := found["policy exec-default"]; f.Level != levelOK {
		t.Errorf("control: %+v", f)
	}
	if f := newRig(t, options{}).told()["engine docker"]; f.Level != levelOK || !strings.HasSuffix(f.Detail, "no policy uses it") {
		t.Errorf("an engine that is neither used nor there: %+v", f)
	}
}

// hanging is an engine that never answers.
type hanging struct{ engine.Engine }

func (hanging) Examine(ctx context.Context) (*engine.Health, error) {
	<-ctx.Done()
	return nil, fmt.Errorf("ask the daemon: %w", ctx.Err())
}

func (hanging) Prepare(context.Context, *policy.Policy, rootfs.Identity) (*engine.Root, error) {
	return nil, errors.New("an engine that does not answer was asked to prepare a policy")
}

func TestDoctorWaitsForNoEngine(t *testing.T) {
	r := newRig(t, options{wrap: func(e engine.Engine) engine.Engine { return hanging{e} }})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	reply, err := r.Doctor(ctx)
	check(t, err)
	if all := fmt.Sprint(reply.Findings); !strings.Contains(all, "no answer within 5s: ask the daemon: context deadline exceeded; it is used by exec-default") || strings.Contains(all, "asked to prepare") {
		t.Errorf("of an engine that hangs: %s", all)
	}
}

func TestRuntimeThatNamesNoVersionIsToldSo(t *testing.T) {
	odd := t.TempDir() + "/odd"
	check(t, os.WriteFile(odd, []byte("#!/bin/sh\necho odd but working\n"), 0o755))
	r := newRig(t, options{runtime: odd})
	if f := r.told()["oci advisories"]; f.Level != levelWarning || !strings.Contains(f.Detail, "odd but working") {
		t.Errorf("a runtime without a version: %+v", f)
	}
}

package main

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
	"github.com/creel-sandbox/creel/runner/server"
	"github.com/creel-sandbox/creel/runner/server/servertest"
)

func TestPsListsForPeopleAndForPrograms(t *testing.T) {
	r := newRig(t)
	empty := r.run(t, "ps")
	empty.want(t, 0)
	if fields := strings.Fields(empty.stdout); strings.Join(fields, " ") != "ID POLICY COMMAND CALLER CREATED STATE PIDS LEASES WEAKER" {
		t.Errorf("header %q", empty.stdout)
	}
	r.running(t, "exec", "--session", "s1", "--", "sh", "-c", "echo; exec sleep 1000")
	lines := strings.Split(r.run(t, "ps").stdout, "\n")
	if len(lines) != 3 || !regexp.MustCompile(`^000000000001 +exec-default +"sh -c echo; exec sleep 1000" +0 +(less than a second|[12] seconds?) ago +running +1 +- +-$`).MatchString(lines[1]) {
		t.Errorf("rows %q", lines)
	}
	var reply api.PsReply
	if err := api.Decode([]byte(r.run(t, "ps", "--json").stdout), &reply); err != nil {
		t.Fatal(err)
	}
	if len(reply.Sandboxes) != 1 || reply.Sandboxes[0].Session != "s1" {
		t.Errorf("reply %+v", reply)
	}
	r.run(t, "ps", "-a").want(t, 0, "creel: notice: ")
	r.run(t, "ps", "x").want(t, 125, "takes no arguments")
}

func TestPsJSONKeepsItsKeys(t *testing.T) {
	r := newRig(t)
	r.running(t, "exec", "--", "sh", "-c", "echo; exec sleep 1000")
	var reply struct{ Sandboxes []map[string]any }
	if err := json.Unmarshal([]byte(r.run(t, "ps", "--json").stdout), &reply); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"id", "policy", "state", "command", "caller", "engine", "pid", "created", "processes"} {
		if _, ok := reply.Sandboxes[0][key]; !ok {
			t.Errorf("there is no key %q in %v", key, reply.Sandboxes[0])
		}
	}
}

func TestHostileCommandCannotForgeAListing(t *testing.T) {
	r := newRig(t)
	r.running(t, "exec", "--", "sh", "-c", "echo; exec sleep 1000", "\x1b[2J\nroot  x")
	if out := r.run(t, "ps").stdout; strings.ContainsRune(out, 0x1b) || strings.Count(out, "\n") != 2 {
		t.Errorf("listing %q", out)
	}
}

func TestKillTakesSignalsAsNamesAndNumbers(t *testing.T) {
	r := newRig(t)
	for signal, want := range map[string]int{"": 9, "TERM": 15, "sigusr1": 10, "SIGINT": 2, "3": 3} {
		command, _ := r.running(t, "exec", "--", "sh", "-c", "echo; exec sleep 1000")
		var ps api.PsReply
		if err := api.Decode([]byte(r.run(t, "ps", "--json").stdout), &ps); err != nil {
			t.Fatal(err)
		}
		id := ps.Sandboxes[0].ID
		args := []string{"kill", id}
		if signal != "" {
			args = []string{"kill", "-s", signal, id}
		}
		got := r.run(t, args...)
		got.want(t, 0)
		if got.stdout != id+"\n" {
			t.Errorf("kill printed %q, want %s", got.stdout, id)
		}
		command.Wait()
		if code := command.ProcessState.ExitCode(); code != 128+want {
			t.Errorf("signal %q: exit code %d, want %d", signal, code, 128+want)
		}
	}
	r.run(t, "kill").want(t, 125, "either IDs or --all")
	r.run(t, "kill", "--all", "x").want(t, 125, "either IDs or --all")
	r.run(t, "kill", "-s", "NONE", "x").want(t, 125, `no signal "NONE"`)
	r.run(t, "kill", "-s", "0", "x").want(t, 125, "no signal 0")
	r.run(t, "kill", "nope").want(t, 125, `no sandbox "nope"`, "creel ps")
	command, _ := r.running(t, "exec", "--", "sh", "-c", "echo; exec sleep 1000")
	r.run(t, "kill", "--all").want(t, 0)
	command.Wait()
	if code := command.ProcessState.ExitCode(); code != 137 {
		t.Errorf("after kill --all: exit code %d", code)
	}
}

func TestInspectLogsStatsDoctorAndVersion(t *testing.T) {
	r := newRig(t)
	r.running(t, "exec", "--", "sh", "-c", "echo; exec sleep 1000")
	inspected := r.run(t, "inspect", "0")
	inspected.want(t, 0)
	var inspect api.InspectReply
	if err := api.Decode([]byte(inspected.stdout), &inspect); err != nil || inspect.Sandbox.ID != "000000000001" {
		t.Errorf("inspect %s, %v", inspected.stdout, err)
	}
	r.run(t, "inspect").want(t, 125, "takes one ID")
	if logs := r.run(t, "logs", "0"); logs.code != 0 || logs.stdout != "out\n" || logs.stderr != "err\n" {
		t.Errorf("logs %+v", logs)
	}
	stats := r.run(t, "stats")
	if !regexp.MustCompile(`\n000000000001 +exec-default +3MiB / 512MiB +0\.59% +1\.5ms +1 / 128 +0\n`).MatchString(stats.stdout) {
		t.Errorf("stats %s", stats.stdout)
	}
	var reply api.StatsReply
	if err := api.Decode([]byte(r.run(t, "stats", "--json", "nope").stdout), &reply); err != nil || len(reply.Stats) != 0 {
		t.Errorf("stats of another: %+v, %v", reply, err)
	}
	doctor := r.run(t, "doctor")
	if doctor.code != 1 || !strings.Contains(doctor.stdout, "error   sandbox   there is none\nsandbox: hint: this backend is for tests\n") {
		t.Errorf("doctor %+v", doctor)
	}
	if version := r.run(t, "version"); version.code != 0 || version.stdout != "creel    dev\ncreeld   test\nengine   host\nruntime  none\n" {
		t.Errorf("version %+v", version)
	}
	alone := *r
	alone.env = append(append([]string{}, r.env...), "CREEL_SOCKET=/nonexistent")
	if version := alone.run(t, "version"); version.code != 125 || version.stdout != "creel    dev\n" {
		t.Errorf("version without a supervisor: %+v", version)
	}
	alone.run(t, "version", "--client").want(t, 0)
}

func TestFollowedLogsEndWithTheirReader(t *testing.T) {
	r := newRig(t)
	r.running(t, "exec", "--", "sh", "-c", "echo; exec sleep 1000")
	command := r.command(t, "logs", "-f", "0")
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	if line := readLine(t, stdout); line != "out\n" {
		t.Fatalf("line %q", line)
	}
	command.Process.Signal(unix.SIGINT)
	command.Wait()
	if cause := <-r.host.Causes; cause != server.ErrCallerGone {
		t.Errorf("cause %v, want ErrCallerGone", cause)
	}
}

// endedOne is a backend with one sandbox that has ended in a weaker mode.
type endedOne struct{ servertest.Host }

func (*endedOne) Ps(context.Context, bool) (*api.PsReply, error) {
	return &api.PsReply{Sandboxes: []api.Sandbox{{
		ID: strings.Repeat("ab", 32), Policy: "p", State: "ended", Caller: "openclaw", Created: time.Now().Add(-3 * time.Hour),
		Leases: []api.Lease{{State: "live"}, {State: "revoked"}, {State: "live"}},
		Canary: true, Weaker: []string{"userNamespace: off"}, Result: &api.Result{Reason: api.ReasonOOM, ExitCode: 137},
	}}}, nil
}

func TestPsShowsHowOneEndedAndItsWeakerModes(t *testing.T) {
	backend := &endedOne{}
	out := rigOf(t, &backend.Host, backend).run(t, "ps", "-a").stdout
	if !regexp.MustCompile(`\nabababababab +p +- +openclaw +3 hours ago +ended \(oom, 137\), canary +0 +2 live, 1 revoked +userNamespace: off\n`).MatchString(out) {
		t.Errorf("listing %q", out)
	}
}

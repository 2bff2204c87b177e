package policy

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// minimalAgent is the smallest Agent, and agentWith that with lines added.
const minimalAgent = `apiVersion: creel/v1
kind: Agent
name: minimal
justification: The team's assistant.
owner: ops@example.org
reviewBy: 2027-02-01
root: {host: true}
user: openclaw
command: [openclaw, gateway]
`

func agentWith(lines ...string) string { return minimalAgent + strings.Join(lines, "\n") + "\n" }

func TestAgentsDefaultsAreWhatTheDocumentsSay(t *testing.T) {
	got := mustParse(t, agentWith("publish: 127.0.0.1:18789", "ready: {http: /healthz}"))
	want := Agent{
		Command: []string{"openclaw", "gateway"}, Publish: got.Agent.Publish,
		Ready:   &Ready{HTTP: "/healthz", Port: 18789, Within: time.Minute, Every: 10 * time.Second, Timeout: 5 * time.Second, Failures: 3},
		Restart: Restart{Backoff: time.Second, Most: time.Minute, Limit: RestartLimit{5, 10 * time.Minute}},
		Stop:    Stop{"SIGTERM", 10 * time.Second}, OnRotation: RotationRestart,
	}
	if diff := cmp.Diff(want, got.Agent, compareAddresses); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got.Limits.Timeout != 0 || got.Logs.Keep != 256<<10 || got.Agent.Publish.String() != "127.0.0.1:18789" {
		t.Errorf("timeout %v, logs %d, publish %v", got.Limits.Timeout, got.Logs.Keep, got.Agent.Publish)
	}
	if weaker := got.Weaker(); len(weaker) > 0 {
		t.Errorf("an agent without a time limit is called weaker: %v", weaker)
	}
	if other := mustParse(t, minimal); !cmp.Equal(other.Agent, Agent{}, compareAddresses) {
		t.Errorf("a Policy has the defaults of an Agent: %+v", other.Agent)
	}
}

func TestAgentIsPublishedOnTheLoopbackAlone(t *testing.T) {
	for _, at := range []string{"127.0.0.1:18789", "127.0.0.2:1024", "'[::1]:65535'"} {
		if got := mustParse(t, agentWith("publish: "+at)); "'"+got.Agent.Publish.String()+"'" != "'"+strings.Trim(at, "'")+"'" {
			t.Errorf("%s was read as %v", at, got.Agent.Publish)
		}
	}
	for _, at := range []string{
		"0.0.0.0:18789", "192.168.1.2:18789", "10.0.0.1:18789", "169.254.1.1:18789", "93.184.216.34:18789", "128.0.0.1:18789",
		"'[::]:18789'", "'[::2]:18789'", "'[::ffff:127.0.0.1]:18789'", "'[::ffff:10.0.0.1]:18789'", "'[fe80::1%lo]:18789'", "'[::1%lo]:18789'", "'[0:0:0:0:0:0:0:1]:18789'",
		"localhost:18789", "'*:18789'", "':18789'", "18789", "127.0.0.1", "127.1:18789", "2130706433:18789", "0x7f.0.0.1:18789", "0177.0.0.1:18789",
		"127.0.0.1:80", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:018789", "127.0.0.256:18789", "127.0.0.1:18789/tcp", "127.0.0.1:18789:18789",
	} {
		p, problems := Parse("test.yaml", []byte(agentWith("publish: "+at)))
		if p != nil || len(problems) != 1 || problems[0].Key != "publish" || problems[0].Hint == "" {
			t.Errorf("%s: %v, %v", at, p, problems)
		}
	}
}

func TestTwoAgentsAreNotPublishedAtOneAddress(t *testing.T) {
	agent := func(name, at string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte(strings.Replace(agentWith("publish: "+at), "name: minimal", "name: "+name, 1))}
	}
	set, problems := LoadSet(fstest.MapFS{"p/a.yaml": agent("a", "127.0.0.1:2000"), "p/b.yaml": agent("b", "127.0.0.1:2000")}, "p")
	if set != nil || len(problems) != 1 || problems[0].File != "p/b.yaml" || problems[0].Key != "publish" {
		t.Errorf("%v, %v", set, problems)
	}
	if set, problems = LoadSet(fstest.MapFS{"p/a.yaml": agent("a", "127.0.0.1:2000"), "p/b.yaml": agent("b", "127.0.0.1:2001")}, "p"); set == nil {
		t.Errorf("control: %v", problems)
	}
}

// A mount of kind exec has no source until whoever loads the policies gives it
// one, and no other mount is touched.
func TestExecSocketIsPlacedByWhoLoadsThePolicies(t *testing.T) {
	text := agentWith("mounts: [{kind: exec, target: /run/creel/exec.sock}, {kind: data, source: /srv/d, target: /d}]")
	set, problems := LoadSet(fstest.MapFS{"p/minimal.yaml": &fstest.MapFile{Data: []byte(text)}}, "p")
	if set == nil {
		t.Fatal(problems)
	}
	p, _ := set.Get("minimal")
	if p.Mounts[0].Source != "" {
		t.Errorf("the source is %q before", p.Mounts[0].Source)
	}
	set.PlaceExecSockets(func(agent string) string { return "/run/creel/agents/" + agent + ".sock" })
	if p.Mounts[0].Source != "/run/creel/agents/minimal.sock" || p.Mounts[1].Source != "/srv/d" {
		t.Errorf("mounts are %+v", p.Mounts)
	}
	doc, _ := set.Document("minimal")
	if conflicts := doc.Conflicts(DefaultConfig()); len(conflicts) > 0 {
		t.Errorf("creel's own socket is in its own way: %v", conflicts)
	}
}

func TestLimitOfRestartsIsReadAsItIsSaid(t *testing.T) {
	for text, want := range map[string]RestartLimit{
		"5 in 10m": {5, 10 * time.Minute}, "1 in 1s": {1, time.Second}, "999 in 24h": {999, 24 * time.Hour}, "unlimited": {},
	} {
		if got := mustParse(t, agentWith("restart: {limit: "+text+"}")).Agent.Restart.Limit; got != want || got.String() != text {
			t.Errorf("%s was read as %v", text, got)
		}
	}
	for _, text := range []string{"0 in 1m", "1000 in 1m", "5", "5 in", "5 in 25h", "5 in 1ms", "5 per 1m", "5in1m", "-1 in 1m", "5 in 1m 2s", "5 in hms"} {
		if p, problems := Parse("test.yaml", []byte(agentWith("restart: {limit: "+text+"}"))); p != nil || problems[0].Key != "restart.limit" {
			t.Errorf("%q was accepted: %v", text, problems)
		}
	}
}

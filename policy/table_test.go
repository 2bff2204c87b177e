package policy

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// everything.yaml sets every key of a Policy but the alternatives of root, and
// agent.yaml those of an Agent, so a field of the Go types that no row of the
// table fills stays zero here.
func TestEveryFieldOfPolicyHasARow(t *testing.T) {
	p := mustParse(t, string(read(t, "testdata/good/everything.yaml")))
	p.Root.Host, p.Root.Dir = true, "/srv/rootfs" // their rows are tested by their own files
	p.Agent = mustParse(t, string(read(t, "testdata/good/agent.yaml"))).Agent
	findZero(t, "Policy", reflect.ValueOf(*p))
}

func TestEveryFieldOfConfigHasARow(t *testing.T) {
	c, problems := ParseConfig("creel.yaml", []byte(fullConfig))
	if c == nil {
		t.Fatal(lines(problems))
	}
	c.Secrets.Key.Credential = "secrets" // the other choice, which is the default
	c.TokenSocket.Everyone = true        // the other choice, which TestTokenSocketIsAGroupsOrEveryones makes
	findZero(t, "Config", reflect.ValueOf(*c))
}

// findZero reports each field that is zero in every element of the lists
// around it.
func findZero(t *testing.T, path string, v reflect.Value) {
	switch {
	case v.Kind() == reflect.Pointer && !v.IsNil():
		findZero(t, path, v.Elem())
	case v.Kind() == reflect.Slice && v.Len() > 0 && v.Type().Elem().Kind() == reflect.Struct:
		for i := range v.Type().Elem().NumField() {
			set := false
			for j := range v.Len() {
				set = set || !v.Index(j).Field(i).IsZero()
			}
			if !set {
				t.Errorf("%s[].%s is never set", path, v.Type().Elem().Field(i).Name)
			}
		}
	case v.Kind() == reflect.Struct && v.Type().PkgPath() == reflect.TypeFor[Policy]().PkgPath():
		for i := range v.NumField() {
			findZero(t, path+"."+v.Type().Field(i).Name, v.Field(i))
		}
	case v.IsZero():
		t.Errorf("%s is not set by any key", path)
	}
}

func TestDefaultsAreWhatTheDocumentsSay(t *testing.T) {
	got := mustParse(t, minimal)
	want := &Policy{
		Kind: KindPolicy, Name: "minimal", Justification: "The team's build runs here.", Owner: "ops@example.org",
		ReviewBy: time.Date(2027, 2, 1, 0, 0, 0, 0, time.UTC),
		Root:     Root{Host: true}, User: "openclaw", Workdir: "/",
		Tmp: Tmp{Size: 64 << 20, Inodes: 10000}, Seccomp: "default", UserNamespace: UserNamespaceRequired,
		Scope: ScopeCommand, Session: Session{Idle: 10 * time.Minute, MaxAge: 8 * time.Hour, Most: 8},
		Limits:  Limits{Memory: 512 << 20, MilliCPU: 1000, Pids: 128, NoFile: 1024, Timeout: 5 * time.Minute},
		Callers: Callers{Users: []string{"openclaw"}},
	}
	if diff := cmp.Diff(want, got, compareAddresses); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	network := mustParse(t, with("network: {gateway: 127.0.0.1:18789}")).Network
	if network == nil || network.MaxConnections != 64 || network.Gateway.String() != "127.0.0.1:18789" {
		t.Errorf("network is %+v", network)
	}
}

func TestWorkdirIsTheFirstWorkspaceUnlessItIsGiven(t *testing.T) {
	mounts := "mounts: [{kind: data, source: /srv/d, target: /d}, {kind: workspace, source: /srv/a, target: /a}, {kind: workspace, source: /srv/b, target: /b}]"
	if got := mustParse(t, with(mounts)).Workdir; got != "/a" {
		t.Errorf("left out: %s", got)
	}
	if got := mustParse(t, with(mounts, "workdir: /b/c")).Workdir; got != "/b/c" {
		t.Errorf("given: %s", got)
	}
}

func TestEmptyListsMeanNone(t *testing.T) {
	p := mustParse(t, with("mounts: []", "env: {}", "credentials: []"))
	if len(p.Mounts)+len(p.Env)+len(p.Credentials) != 0 || p.Network != nil {
		t.Errorf("got %+v", p)
	}
}

func TestEveryRowExplainsItself(t *testing.T) {
	help := map[string]string{}
	collect(help, "", policyFile.schema())
	collect(help, "config", configFile.schema())
	if len(help) < 40 {
		t.Fatalf("found only %d rows", len(help))
	}
	for key, text := range help {
		if len(text) < 10 || !strings.HasSuffix(text, ".") {
			t.Errorf("%s: the help %q is not a sentence", key, text)
		}
	}
}

func collect(help map[string]string, path string, s *schema) {
	if s.Items != nil {
		s = s.Items
	}
	for key, row := range s.Properties {
		help[join(path, key)] = row.Description
		collect(help, join(path, key), row)
	}
}

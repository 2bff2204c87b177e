package spec

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/creel-sandbox/creel/policy"
)

var update = flag.Bool("update", false, "rewrite testdata from what is built now")

// minimal is a policy with little more than what every policy has.
func minimal() *policy.Policy {
	return &policy.Policy{
		Kind: policy.KindPolicy, Name: "minimal", Root: policy.Root{Host: true}, User: "openclaw", Workdir: "/",
		Tmp: policy.Tmp{Size: 64 << 20, Inodes: 10000}, Seccomp: "default", UserNamespace: policy.UserNamespaceRequired,
		Limits: policy.Limits{Memory: 512 << 20, MilliCPU: 1000, Pids: 128, NoFile: 1024},
	}
}

// everything is a policy that uses all that a policy can say.
func everything() *policy.Policy {
	p := minimal()
	p.Name, p.Root, p.Workdir = "everything", policy.Root{Dir: "/srv/rootfs"}, "/workspace"
	p.Justification, p.Owner, p.ReviewBy = "canary-justification", "canary-owner", time.Unix(1, 0)
	p.Mounts = []policy.Mount{{Kind: policy.MountWorkspace, Source: "/srv/canary-source", Target: "/workspace", Writable: true}}
	p.Env = []policy.EnvVar{{Name: "CANARY_NAME", Value: "canary-value"}}
	p.Credentials = []policy.Credential{{Env: "CANARY_TOKEN", Provider: "exec", Reference: "/bin/canary-helper", TTL: time.Minute}}
	p.Network = &policy.Network{MaxConnections: 7}
	p.Limits = policy.Limits{Memory: 1 << 20, MilliCPU: 1500, Pids: 8, NoFile: 16, FileSize: 1 << 20, Timeout: time.Second, Output: 99}
	p.Logs, p.Pool, p.Callers = policy.Logs{Keep: 10}, policy.Pool{Warm: 2}, policy.Callers{Users: []string{"canary-caller"}}
	return p
}

func weaker() *policy.Policy {
	p := minimal()
	p.Name, p.UserNamespace = "no-user-namespace", policy.UserNamespaceOff
	return p
}

func input(t *testing.T, p *policy.Policy) Input {
	t.Helper()
	floor, err := Floor()
	if err != nil {
		t.Fatal(err)
	}
	return Input{Policy: p, UID: 1001, GID: 1002, Rootfs: "/run/creel/roots/1", CgroupsPath: "/creel/x/0123456789ab",
		Init: "/.creel/init", Seccomp: floor, InitFiles: initFiles}
}

const initFiles = 1 << 19 // as systemd gives

func build(t *testing.T, p *policy.Policy) []byte {
	t.Helper()
	data, err := json.MarshalIndent(Build(input(t, p)), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(data, '\n')
}

func policies() []*policy.Policy { return []*policy.Policy{minimal(), everything(), weaker()} }

func TestConfigurationsAreAsReviewed(t *testing.T) {
	for _, p := range policies() {
		file := filepath.Join("testdata", p.Name+".json")
		got := build(t, p)
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what is built now; go test -run Reviewed -update, and review the difference:\n%s", file, got)
		}
	}
}

// withoutVM leaves out the schema of virtual machines, which is no valid
// schema itself (its iomems) and describes what no configuration of ours has.
type withoutVM struct{ jsonschema.FileLoader }

func (l withoutVM) Load(url string) (any, error) {
	if strings.HasSuffix(url, "/config-vm.json") {
		return map[string]any{"vm": map[string]any{}}, nil
	}
	return l.FileLoader.Load(url)
}

// schema compiles config-schema.json of the runtime-spec that go.mod names.
func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/opencontainers/runtime-spec").Output()
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.UseLoader(jsonschema.SchemeURLLoader{"file": withoutVM{}})
	compiled, err := compiler.Compile(filepath.Join(strings.TrimSpace(string(dir)), "schema", "config-schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	return compiled
}

func TestConfigurationsFollowThePublishedSchema(t *testing.T) {
	compiled := schema(t)
	for _, p := range policies() {
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(build(t, p)))
		if err != nil {
			t.Fatal(err)
		}
		if err := compiled.Validate(value); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
	}
}

// The control: each of these is what the schema would find.
func TestSchemaRefusesBrokenConfigurations(t *testing.T) {
	compiled := schema(t)
	for name, broken := range map[string]func(map[string]any){
		"no version":    func(c map[string]any) { delete(c, "ociVersion") },
		"mount as text": func(c map[string]any) { c["mounts"] = "/proc" },
		"relative mask": func(c map[string]any) { c["linux"].(map[string]any)["maskedPaths"] = 7 },
		"unknown namespace": func(c map[string]any) {
			c["linux"].(map[string]any)["namespaces"] = []any{map[string]any{"type": "moon"}}
		},
		"unknown rlimit": func(c map[string]any) {
			c["process"].(map[string]any)["rlimits"] = []any{map[string]any{"type": "CORE", "soft": 0, "hard": 0}}
		},
	} {
		var config map[string]any
		if err := json.Unmarshal(build(t, minimal()), &config); err != nil {
			t.Fatal(err)
		}
		broken(config)
		if compiled.Validate(config) == nil {
			t.Errorf("%s: not refused", name)
		}
	}
}

// Promise 4: nothing that a command, its environment or a credential has can
// be in what a runtime writes to its state, whatever the policy holds.
func TestConfigurationHoldsNoCommandEnvironmentOrCredential(t *testing.T) {
	for _, p := range policies() {
		data := build(t, p)
		if i := bytes.Index(bytes.ToLower(data), []byte("canary")); i >= 0 {
			t.Errorf("%s: holds …%s…", p.Name, data[max(0, i-20):min(len(data), i+40)])
		}
		config := Build(input(t, p))
		if len(config.Process.Args) != 1 || config.Process.Args[0] != "/.creel/init" || len(config.Process.Env) != 0 {
			t.Errorf("%s: process is %q with environment %q", p.Name, config.Process.Args, config.Process.Env)
		}
		if config.Hooks != nil || config.Process.Terminal || len(config.Annotations) != 0 {
			t.Errorf("%s: has hooks, a terminal or annotations", p.Name)
		}
	}
	// The control: a canary where the configuration does take a text is found.
	in := input(t, minimal())
	in.CgroupsPath = "/canary"
	if data, err := json.Marshal(Build(in)); err != nil || !bytes.Contains(data, []byte("canary")) {
		t.Errorf("control: %v", err)
	}
}

func TestEverySandboxIsHeldToThePromises(t *testing.T) {
	for _, p := range policies() {
		c := Build(input(t, p))
		kinds := map[specs.LinuxNamespaceType]bool{}
		for _, n := range c.Linux.Namespaces {
			kinds[n.Type] = n.Path == ""
		}
		for _, kind := range []specs.LinuxNamespaceType{"pid", "mount", "ipc", "uts", "network", "cgroup"} {
			if !kinds[kind] {
				t.Errorf("%s: no %s namespace of its own", p.Name, kind)
			}
		}
		if kinds["user"] != (p.UserNamespace == policy.UserNamespaceRequired) {
			t.Errorf("%s: user namespace %v", p.Name, kinds["user"])
		}
		if caps := reflect.ValueOf(*c.Process.Capabilities); !caps.IsZero() || !c.Process.NoNewPrivileges || !c.Root.Readonly || c.Linux.Seccomp == nil {
			t.Errorf("%s: privileges are left: %+v", p.Name, c.Process)
		}
		if m := c.Linux.Resources.Memory; *m.Limit != p.Limits.Memory || *m.Swap != *m.Limit {
			t.Errorf("%s: memory %d with swap %d", p.Name, *m.Limit, *m.Swap)
		}
		for _, r := range c.Process.Rlimits {
			if r.Type == "RLIMIT_NOFILE" && r.Hard == initFiles {
				continue // creel-init lowers it for the command, and the posture is held to that
			}
			if r.Soft != r.Hard || r.Type == "RLIMIT_CORE" && r.Hard != CoreLimit {
				t.Errorf("%s: %+v can be raised", p.Name, r)
			}
		}
		for _, m := range c.Mounts {
			if !strings.Contains(strings.Join(m.Options, " "), "nosuid") || m.Type == "bind" {
				t.Errorf("%s: mount %+v", p.Name, m)
			}
		}
	}
}

func TestBuildChangesNothingItIsGiven(t *testing.T) {
	p := everything()
	in := input(t, p)
	first, err := json.Marshal(Build(in))
	if err != nil {
		t.Fatal(err)
	}
	masked := append([]string(nil), MaskedPaths...)
	built := Build(in) // scribble over all that could be shared with the next
	built.Linux.MaskedPaths[0], built.Mounts[0].Destination = "/x", "/x"
	*built.Linux.Resources.Memory.Limit, *built.Linux.Resources.Pids.Limit = 1, 1
	second, err := json.Marshal(Build(in))
	if err != nil || !bytes.Equal(first, second) || !reflect.DeepEqual(p, everything()) || !reflect.DeepEqual(masked, MaskedPaths) {
		t.Errorf("a second build differs, or its input was changed: %v", err)
	}
}

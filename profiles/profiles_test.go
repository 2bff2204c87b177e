package profiles

import (
	"encoding/json"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

type document struct {
	DefaultAction string           `json:"defaultAction"`
	Syscalls      []map[string]any `json:"syscalls"`
}

func decode(t *testing.T, data []byte) document {
	t.Helper()
	var doc document
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatalf("decode profile: %v", err)
	}
	if len(doc.Syscalls) == 0 {
		t.Fatal("the profile has no rule")
	}
	return doc
}

// all returns every shipped seccomp file by name, the floor included.
func all(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{floorName: Floor()}
	for _, name := range SeccompNames() {
		data, ok := Seccomp(name)
		if !ok {
			t.Fatalf("Seccomp(%q) is not found although it is listed", name)
		}
		files[name] = data
	}
	return files
}

func TestEverySeccompRuleHasItsReason(t *testing.T) {
	for name, data := range all(t) {
		for i, rule := range decode(t, data).Syscalls {
			comment, _ := rule["comment"].(string)
			if len(strings.Fields(comment)) < 2 || !strings.HasSuffix(comment, ".") {
				t.Errorf("%s: syscalls[%d] %v: comment %q is not a reason", name, i, rule["names"], comment)
			}
		}
	}
}

func TestProfilesRefuseByDefaultAndTheFloorAllows(t *testing.T) {
	for name, data := range all(t) {
		want := "SCMP_ACT_ERRNO"
		if name == floorName {
			want = "SCMP_ACT_ALLOW"
		}
		if got := decode(t, data).DefaultAction; got != want {
			t.Errorf("%s: defaultAction %q, want %q", name, got, want)
		}
	}
}

func TestFloorOnlyRefusesWithKeysOfTheOCISpecification(t *testing.T) {
	known := []string{"names", "action", "errnoRet", "args", "comment"}
	for i, rule := range decode(t, Floor()).Syscalls {
		if rule["action"] != "SCMP_ACT_ERRNO" || rule["errnoRet"] == nil {
			t.Errorf("syscalls[%d]: action %v errnoRet %v, want SCMP_ACT_ERRNO and a number", i, rule["action"], rule["errnoRet"])
		}
		for key := range rule {
			if !slices.Contains(known, key) {
				t.Errorf("syscalls[%d]: key %q is not one an OCI runtime reads", i, key)
			}
		}
	}
}

func TestOnlyShippedProfilesAreFound(t *testing.T) {
	if names := SeccompNames(); !slices.Contains(names, "default") || !slices.IsSorted(names) {
		t.Errorf("SeccompNames() = %q, want it sorted and with default", names)
	}
	if _, ok := Seccomp("default"); !ok {
		t.Error("default is not found")
	}
	for _, name := range []string{"", floorName, "nope", "default.json", "../seccomp/default", "../policies/exec-default", "./default", "x/../default"} {
		if data, ok := Seccomp(name); ok {
			t.Errorf("Seccomp(%q) found %d bytes, want none", name, len(data))
		}
	}
}

func TestReturnedBytesAreTheCallersOwn(t *testing.T) {
	first, _ := Seccomp("default")
	clear(first)
	clear(Floor())
	decode(t, Floor())
	second, _ := Seccomp("default")
	decode(t, second)
}

func TestStarterPoliciesAreNamedAfterTheirFiles(t *testing.T) {
	files, err := fs.Glob(Policies(), "*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"exec-build.yaml", "exec-default.yaml", "exec-offline.yaml", "exec-readonly.yaml", "openclaw-agent.yaml"}; !slices.Equal(files, want) {
		t.Errorf("policies %q, want %q", files, want)
	}
	for _, file := range files {
		data, err := fs.ReadFile(Policies(), file)
		if err != nil {
			t.Fatal(err)
		}
		if line := "\nname: " + strings.TrimSuffix(file, ".yaml") + "\n"; !strings.Contains(string(data), line) {
			t.Errorf("%s does not contain %q", file, line)
		}
	}
}

package posture

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/runner/cgroup"
)

// matching is a prediction that makes use of every field, and a posture for
// which it holds.
func matching() (Prediction, *Posture) {
	limits := cgroup.Limits{Memory: 1 << 20, Pids: 8, CPUQuota: 150_000, CPUPeriod: 100_000}
	want := Prediction{
		Shared: []string{"user"}, UIDMap: "0 5 1,7 7 1", GIDMap: "0 5 1,8 8 1", Cgroup: "/creel/x/id", Limits: limits,
		UID: "7", GID: "8", Groups: "8", Exe: File{2, 3}, Filters: 1, OOMScoreAdj: 500, RLimits: map[string]string{"Max open files": "9 99"},
		Mounts: map[string]PredictedMount{"/tmp": {
			FSTypes: []string{"tmpfs"}, With: []string{"nosuid", "nodev"}, Own: true, Root: "/",
			Size: 4096, Inodes: 10, Dev: 4, Ino: 5, Rdev: 6, Receives: true,
		}},
	}
	process := Process{
		Pid: 100, NSPid: 1, UIDs: []string{"7", "7", "7", "7"}, GIDs: []string{"8", "8", "8", "8"}, Groups: []string{"8"},
		NoNewPrivs: true, Seccomp: 2, Filters: 1, Exe: File{2, 3}, AtRoot: true, OOMScoreAdj: 500,
		FDs:    []FD{{0, "/dev/null", nullDevice}, {3, "socket:[1]", 0}, {4, "anon_inode:[eventfd]", 0}},
		Limits: map[string]string{"Max open files": "9 99"},
	}
	return want, &Posture{
		Processes: []Process{process}, Namespaces: map[string]string{"pid": "pid:[1]"},
		SharedNamespaces: []string{"user"}, UIDMap: want.UIDMap, GIDMap: want.GIDMap, ProcOf: "pid:[1]",
		Cgroups: map[string]string{"memory": "/creel/x/id"}, Limits: limits,
		Mounts: []Mount{{Target: "/tmp", FSType: "tmpfs", Root: "/", Source: "tmpfs", Flags: []string{"rw", "nosuid", "nodev"},
			Dev: 4, Ino: 5, Rdev: 6, Size: 4096, Inodes: 10, Propagation: "master:7"}},
	}
}

// harmless are the changes of a posture that take nothing away from what is
// promised; each with why.
var harmless = []struct{ change, why string }{
	{`^Processes\[\d\]\.Pid: `, "a number of the host"},
	{`^Processes\[\d\]\.FDs\[\d\]\.Number: `, "what matters is what it refers to"},
	{`^Processes\[\d\]\.FDs\[0\]\.Target: `, "the device number says that it is the null device"},
	{`^Processes\[\d\]\.FDs\[1\]\.Target: longer`, "a socket's number; how many there are counts"},
	{`^Processes\[\d\]\.FDs\[[02]\]: removed`, "having less than it may"},
	{`^Processes\[\d\]\.FDs\[[12]\]\.Rdev: `, "not a device, by its target"},
	{`^Processes\[\d\]\.Limits\[x\]: added`, "a limit the policy says nothing of"},
	{`^Namespaces\[x\]: added`, "what is shared or foreign is listed apart"},
	{`^Mounts\[0\]\.Source: `, "only a name; the device and inode count"},
	{`^Mounts\[0\]\.Flags\[0\]: `, "rw was not asked for here"},
	{`^Mounts\[0\]\.Flags: added`, "more flags only restrict"},
}

func TestAnyChangeOfThePostureIsADifference(t *testing.T) {
	want, got := matching()
	if differences := Compare(want, got); len(differences) != 0 {
		t.Fatalf("the matching pair differs: %q", differences)
	}
	used, changes := map[string]bool{}, 0
	mutate(reflect.ValueOf(got).Elem(), "", func(change string) {
		changes++
		differences := Compare(want, got)
		for _, h := range harmless {
			if regexp.MustCompile(h.change).MatchString(change) {
				used[h.change] = true
				if len(differences) != 0 {
					t.Errorf("%s: listed as harmless (%s), gives %q", change, h.why, differences)
				}
				return
			}
		}
		if len(differences) == 0 {
			t.Errorf("%s: not noticed", change)
		}
	})
	for _, h := range harmless {
		if !used[h.change] {
			t.Errorf("harmless change %s does not exist", h.change)
		}
	}
	if _, fresh := matching(); !reflect.DeepEqual(got, fresh) {
		t.Error("the posture is not as it was: mutations were not undone")
	}
	if changes < 90 {
		t.Errorf("only %d changes were tried", changes)
	}
}

func TestEveryFieldOfAPredictionIsCompared(t *testing.T) {
	want, got := matching()
	mutate(reflect.ValueOf(&want).Elem(), "", func(change string) {
		// Less to be held to: an alternative more, a flag or a limit less, any owner.
		if matched, _ := regexp.MatchString(`Own: inverted|FSTypes: added|(With|RLimits)\[.*\]: removed|FSTypes\[0\]: removed`, change); matched {
			return
		}
		if len(Compare(want, got)) == 0 {
			t.Errorf("%s: not noticed", change)
		}
	})
}

// Whatever a kernel sends, the comparison must end in an answer.
func TestEmptyPosturesDiffer(t *testing.T) {
	want, got := matching()
	if len(Compare(want, &Posture{})) == 0 || len(Compare(Prediction{}, got)) == 0 || len(Compare(Prediction{}, &Posture{})) == 0 {
		t.Error("an empty side holds")
	}
}

func TestDifferencesNameWhatTheyAreAbout(t *testing.T) {
	want, got := matching()
	got.Processes[0].Capabilities = []string{"CapEff=0000000000200000"}
	got.Mounts = append(got.Mounts, Mount{Target: "/mnt", FSType: "ext4", Flags: []string{"rw"}})
	got.Limits.Memory = cgroup.Unlimited
	expected := []string{
		"mount /mnt (ext4 rw): not predicted",
		"limit memory: want 1048576, kernel says -1",
		"init: capabilities: want , kernel says CapEff=0000000000200000",
	}
	if differences := Compare(want, got); !slices.Equal(differences, expected) {
		t.Errorf("got %q, want %q", differences, expected)
	}
}

// A posture is what `creel inspect` shows, so its names are a contract.
func TestPostureIsShownWithStableNames(t *testing.T) {
	_, got := matching()
	data, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"processes", "namespaces", "uidMap", "gidMap", "mounts", "procOf", "cgroups", "limits", "oomScoreAdj", "seccompFilters"} {
		if !strings.Contains(string(data), `"`+name+`":`) {
			t.Errorf("no %q in %s", name, data)
		}
	}
}

// mutate changes every part of v one at a time, calls tried with what was
// changed, and changes it back.
func mutate(v reflect.Value, path string, tried func(change string)) {
	with := func(changed reflect.Value, what string) {
		old := reflect.New(v.Type()).Elem()
		old.Set(v)
		v.Set(changed)
		tried(strings.TrimPrefix(path, ".") + ": " + what)
		v.Set(old)
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			mutate(v.Field(i), path+"."+v.Type().Field(i).Name, tried)
		}
	case reflect.String:
		with(reflect.ValueOf(v.String()+"x").Convert(v.Type()), "longer")
	case reflect.Bool:
		with(reflect.ValueOf(!v.Bool()), "inverted")
	case reflect.Int, reflect.Int64:
		with(reflect.ValueOf(v.Int()+1).Convert(v.Type()), "larger")
	case reflect.Uint64:
		with(reflect.ValueOf(v.Uint()+1), "larger")
	case reflect.Slice:
		mutateSlice(v, path, tried)
	case reflect.Map:
		mutateMap(v, path, tried)
	default:
		panic("mutate: " + v.Type().String())
	}
}

func mutateSlice(v reflect.Value, path string, tried func(change string)) {
	old := reflect.ValueOf(v.Interface())
	v.Set(reflect.Append(old.Slice3(0, old.Len(), old.Len()), sample(v.Type().Elem())))
	tried(strings.TrimPrefix(path, ".") + ": added")
	for i := range old.Len() {
		rest := reflect.AppendSlice(reflect.MakeSlice(v.Type(), 0, old.Len()), old.Slice(0, i))
		v.Set(reflect.AppendSlice(rest, old.Slice(i+1, old.Len())))
		tried(fmt.Sprintf("%s[%d]: removed", strings.TrimPrefix(path, "."), i))
	}
	v.Set(old)
	for i := range old.Len() {
		mutate(v.Index(i), fmt.Sprintf("%s[%d]", path, i), tried)
	}
}

func mutateMap(v reflect.Value, path string, tried func(change string)) {
	x := reflect.ValueOf("x")
	v.SetMapIndex(x, sample(v.Type().Elem()))
	tried(strings.TrimPrefix(path, ".") + "[x]: added")
	v.SetMapIndex(x, reflect.Value{})
	for _, key := range v.MapKeys() {
		name := fmt.Sprintf("%s[%s]", path, key)
		old := v.MapIndex(key)
		v.SetMapIndex(key, reflect.Value{})
		tried(strings.TrimPrefix(name, ".") + ": removed")
		element := reflect.New(v.Type().Elem()).Elem()
		element.Set(old)
		mutate(element, name, func(change string) {
			v.SetMapIndex(key, element)
			tried(change)
		})
		v.SetMapIndex(key, old)
	}
}

func sample(t reflect.Type) reflect.Value {
	if t.Kind() == reflect.String {
		return reflect.ValueOf("x").Convert(t)
	}
	return reflect.Zero(t)
}

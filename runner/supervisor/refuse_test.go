package supervisor

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/runner/api"
)

// wrapper is an OCI runtime that edits the configuration it is given, the way
// a faulty creel, a faulty runtime or a kernel without a feature would differ
// from what was asked for, before the real runtime reads it.
const wrapper = `#!/usr/bin/env python3
import json, os, sys
arguments = sys.argv[1:]
if "run" in arguments:
    path = arguments[arguments.index("--bundle") + 1] + "/config.json"
    with open(path) as f:
        config = json.load(f)
    process, linux, mounts = config["process"], config["linux"], config["mounts"]
    def mount(target):
        return next(m for m in mounts if m["destination"] == target)
    def drop(kind):
        linux["namespaces"] = [n for n in linux["namespaces"] if n["type"] != kind]
    def limit(name, value):
        for r in process["rlimits"]:
            if r["type"] == name:
                r["soft"] = r["hard"] = value
    exec(open(os.path.dirname(sys.argv[0]) + "/edit").read())
    with open(path, "w") as f:
        json.dump(config, f)
os.execv(%q, [%[1]q] + arguments)
`

// faulty is a runtime whose edit of the configuration can be changed.
func faulty(t *testing.T, runtime string) (path string, edit func(python string)) {
	t.Helper()
	real, err := exec.LookPath(runtime)
	check(t, err)
	dir := t.TempDir()
	path = filepath.Join(dir, runtime)
	check(t, os.WriteFile(path, fmt.Appendf(nil, wrapper, real), 0o755))
	return path, func(python string) { check(t, os.WriteFile(filepath.Join(dir, "edit"), []byte(python), 0o644)) }
}

// faults are wrong configurations, and a difference that each must be told of.
var faults = []struct{ name, edit, told string }{
	{"a directory of the host", `mounts.append({"destination": "/tmp/host", "source": "/etc", "type": "bind", "options": ["rbind", "ro"]})`, "mount /tmp/host"},
	{"a file of the host", `mounts.append({"destination": "/tmp/shadow", "source": "/etc/shadow", "type": "bind", "options": ["bind"]})`, "mount /tmp/shadow"},
	{"a mount over a declared one", `mounts.append({"destination": "/workspace", "source": "tmpfs", "type": "tmpfs", "options": []})`, "mount /workspace: lies under another mount"},
	{"the host's /tmp", `mount("/tmp").update(source="/dev/shm", type="bind", options=["bind", "nosuid", "nodev"])`, "mount /tmp: is a file system of the host"},
	{"a larger /tmp", `mount("/tmp")["options"] = ["nosuid", "nodev", "mode=1777", "size=1g", "nr_inodes=10000"]`, "mount /tmp: size"},
	{"more inodes", `mount("/tmp")["options"][-1] = "nr_inodes=20000"`, "mount /tmp: inodes"},
	{"set-uid in /tmp", `mount("/tmp")["options"].remove("nosuid")`, "mount /tmp: want nosuid"},
	{"no private /dev/shm", `mounts.remove(mount("/dev/shm"))`, "mount /dev/shm: missing"},
	{"a writable root", `config["root"]["readonly"] = False; config["root"]["path"] = "/"`, ""},
	{"another root", `config["root"]["path"] = os.path.dirname(config["root"]["path"])`, ""},
	{"mounts that the host adds later", `mount("/tmp")["options"].append("shared")`, "mount /tmp: propagation"},
	{"kallsyms unmasked", `linux["maskedPaths"].remove("/proc/kallsyms")`, "mount /proc/kallsyms: missing"},
	{"a writable /proc/sys", `linux["readonlyPaths"].remove("/proc/sys")`, "mount /proc/sys: missing"},
	{"a capability", `process["capabilities"] = {k: ["CAP_NET_RAW"] for k in ("bounding", "effective", "permitted", "inheritable", "ambient")}`, "capabilities"},
	{"a bounding capability", `process["capabilities"] = {"bounding": ["CAP_NET_RAW"]}`, "CapBnd"},
	{"new privileges", `process["noNewPrivileges"] = False`, "no new privileges"},
	{"no floor", `del linux["seccomp"]`, "seccomp"},
	{"another user", `process["user"].update(uid=0)`, "uids"},
	{"another group", `process["user"].update(gid=0)`, "gids"},
	{"a supplementary group", `process["user"]["additionalGids"] = [0]`, "supplementary groups"},
	{"more memory", `linux["resources"]["memory"] = {"limit": 2**30, "swap": 2**30}`, "limit memory"},
	{"no memory limit", `del linux["resources"]["memory"]`, "limit memory"},
	{"more processes", `linux["resources"]["pids"]["limit"] = 1000`, "limit pids"},
	{"more CPU", `linux["resources"]["cpu"]["quota"] = 900000`, "limit cpu quota"},
	{"other open files", `limit("RLIMIT_NOFILE", 100)`, "Max open files"},
	{"other locked memory", `limit("RLIMIT_MEMLOCK", 4096)`, "Max locked memory"},
	{"other message queues", `limit("RLIMIT_MSGQUEUE", 4096)`, "Max msgqueue size"},
	{"other pending signals", `limit("RLIMIT_SIGPENDING", 100)`, "Max pending signals"},
	{"OOM protection", `process["oomScoreAdj"] = 0`, "oom_score_adj"},
	{"the host's network", `drop("network")`, "namespaces shared with the host: want , kernel says net"},
	{"the host's IPC", `drop("ipc")`, "ipc"},
	{"the host's host name", `drop("uts"); del config["hostname"]`, "uts"},
	{"the host's cgroup view", `drop("cgroup")`, "cgroup"},
	{"another's network", `next(n for n in linux["namespaces"] if n["type"] == "network").update(path="/proc/self/ns/net")`, "net"},
	{"no user namespace", `drop("user"); linux.pop("uidMappings"); linux.pop("gidMappings")`, "user"},
	{"another map", `linux["uidMappings"][0]["hostID"] = 1`, "uid map"},
	{"another control group", `linux["cgroupsPath"] = linux["cgroupsPath"] + "-other"`, ""},
	{"another program", `process["args"] = ["/usr/bin/true"]`, ""},
	{"another directory", `process["cwd"] = "/tmp"`, "working directory"},
}

// Promise 7: any difference between what was declared and what the kernel
// says refuses the run before the command starts, and nothing is left.
func TestWrongSandboxIsRefusedBeforeTheCommandRuns(t *testing.T) {
	for _, runtime := range runtimes {
		t.Run(runtime, func(t *testing.T) {
			path, edit := faulty(t, runtime)
			edit("")
			r := newRig(t, options{runtime: path, policy: "limits: {timeout: 1m, memory: 64MiB}"})
			if c := r.run("touch control"); c.err != nil || c.result.ExitCode != 0 || !exists(r.workspace+"/control") {
				t.Fatalf("control: %+v, %v, %s", c.result, c.err, c.stderr)
			}
			for _, fault := range faults {
				t.Run(fault.name, func(t *testing.T) {
					edit(fault.edit)
					r.t = t
					c := r.run("touch ran")
					if exists(r.workspace + "/ran") {
						check(t, os.Remove(r.workspace+"/ran"))
						t.Fatal("the command ran")
					}
					told := asAPI(t, c.err)
					if told.ExitCode != api.ExitFailed || !strings.Contains(told.Message, fault.told) {
						t.Errorf("told %q: %q", told.Code, told.Message)
					}
					if told.Code != "posture" {
						t.Logf("refused before its posture was compared: %s", told.Message)
					} else if !contains(told.Details, fault.told) || !strings.Contains(r.log.String(), fault.told) {
						t.Errorf("not named in details or log: %q", told.Details)
					}
					if left := r.leftovers(); len(left) != 0 {
						t.Errorf("left: %q", left)
					}
				})
			}
			r.t = t
			edit("")
			if c := r.run("touch again"); c.err != nil || !exists(r.workspace+"/again") {
				t.Errorf("control after all faults: %v", c.err)
			}
		})
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

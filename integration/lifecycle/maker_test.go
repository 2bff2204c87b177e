package lifecycle

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/creel-sandbox/creel/integration/testrig"
)

func TestMain(m *testing.M) { os.Exit(testrig.Main(m)) }

// makers are all that make sandboxes. What the root is makes no difference to
// how they end.
var makers = []testrig.Target{{Maker: "crun", Root: "host"}, {Maker: "runc", Root: "host"}, byDocker}

var byDocker = testrig.Target{Maker: "docker", Root: "host"}

// onEachMaker runs a test with a supervisor for each maker, whose default
// policy has more than it comes with.
func onEachMaker(t *testing.T, more string, test func(t *testing.T, r *testrig.Rig)) {
	for _, target := range makers {
		t.Run(target.Maker, func(t *testing.T) {
			test(t, testrig.Start(t, testrig.Options{Target: target, Policy: more}))
		})
	}
}

// daemonsPart counts what a Docker daemon could keep of an invocation: what it
// tells, what it has written, and what runs and is mounted in its namespaces.
func daemonsPart() census {
	d := testrig.Daemon()
	data, _ := os.ReadFile(d.Dir + "/pid")
	pid := strings.TrimSpace(string(data))
	return census{
		"containers of the daemon":       len(d.Containers()),
		"images of the daemon":           strings.Count(d.Docker("images", "--all", "--quiet")+"\n", "\n"),
		"volumes of the daemon":          strings.Count(d.Docker("volume", "ls", "--quiet")+"\n", "\n"),
		"directories of containers":      entries(d.Dir + "/data/containers"),
		"layers of containers":           len(glob(d.Dir + "/data/image/*/layerdb/mounts/*")),
		"tasks of containerd":            len(glob(d.Dir + "/exec/containerd/daemon/io.containerd.runtime.v*.task/moby/*")),
		"processes beside the daemon":    inNamespace(fmt.Sprintf("/proc/%s/ns/mnt", pid)),
		"mounts of the daemon":           lines(fmt.Sprintf("/proc/%s/mountinfo", pid)),
		"runtime states of the daemon":   len(glob(d.Dir + "/exec/runtime-runc/moby/*")),
		"network files of the daemon":    len(glob(d.Dir + "/data/network/files/*")),
		"control groups in the daemon's": len(glob("/sys/fs/cgroup/*" + d.Group + "/*/cgroup.procs")),
	}
}

func glob(pattern string) []string {
	paths, _ := filepath.Glob(pattern)
	return paths
}

// inNamespace counts the processes whose namespace this is.
func inNamespace(path string) int {
	want, _ := os.Readlink(path)
	n := 0
	for _, link := range glob("/proc/[0-9]*/ns/mnt") {
		if target, err := os.Readlink(link); err == nil && target == want {
			n++
		}
	}
	return n
}

package posture

import (
	"bytes"
	"errors"
	"maps"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/kernelfile"
)

// status is an excerpt of /proc/PID/status of a process in a sandbox.
const status = `Name:	creel-init
Umask:	0022
State:	S (sleeping)
Tgid:	17065
Uid:	61234	61234	61234	61234
Gid:	61234	61234	61234	61234
FDSize:	64
Groups:	 
NStgid:	17065	1
NSpid:	17065	1
CapInh:	0000000000000000
CapPrm:	0000000000000000
CapEff:	0000000000000000
CapBnd:	0000000000000000
CapAmb:	0000000000000000
NoNewPrivs:	1
Seccomp:	2
Seccomp_filters:	1
Speculation_Store_Bypass:	thread vulnerable
`

func TestStatusIsRead(t *testing.T) {
	ids := []string{"61234", "61234", "61234", "61234"}
	want := Process{NSPid: 1, UIDs: ids, GIDs: ids, NoNewPrivs: true, Seccomp: 2, Filters: 1}
	got, err := parseStatus(status)
	if err != nil {
		t.Fatal(err)
	}
	got.Groups = slices.Clip(got.Groups)
	if len(got.Groups) == 0 {
		got.Groups = nil
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestWeakStatusIsSeen(t *testing.T) {
	for _, c := range []struct {
		from, to string
		holds    func(Process) bool
	}{
		{"CapEff:\t0000000000000000", "CapEff:\t0000000000200000", func(p Process) bool { return slices.Equal(p.Capabilities, []string{"CapEff=0000000000200000"}) }},
		{"CapAmb:\t0000000000000000", "CapAmb:\t0000000000000001", func(p Process) bool { return slices.Equal(p.Capabilities, []string{"CapAmb=0000000000000001"}) }},
		{"Groups:\t ", "Groups:\t27 4", func(p Process) bool { return slices.Equal(p.Groups, []string{"27", "4"}) }},
		{"NoNewPrivs:\t1", "NoNewPrivs:\t0", func(p Process) bool { return !p.NoNewPrivs }},
		{"Seccomp:\t2", "Seccomp:\t1", func(p Process) bool { return p.Seccomp == 1 }},
		{"Uid:\t61234\t61234\t61234\t61234", "Uid:\t61234\t61234\t0\t61234", func(p Process) bool { return p.UIDs[2] == "0" }},
		{"NSpid:\t17065\t1", "NSpid:\t17065", func(p Process) bool { return p.NSPid == 17065 }},
	} {
		got, err := parseStatus(strings.Replace(status, c.from, c.to, 1))
		if err != nil || !c.holds(got) {
			t.Errorf("%s: got %+v, %v", c.to, got, err)
		}
	}
}

// What a kernel does not tell, because it was built without, is not in force.
func TestStatusWithoutALineIsRefused(t *testing.T) {
	for _, key := range []string{"NSpid", "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters"} {
		text := strings.Replace(status, "\n"+key+":", "\nX"+key+":", 1)
		if _, err := parseStatus(text); err == nil || !strings.Contains(err.Error(), "no "+key) {
			t.Errorf("without %s: %v", key, err)
		}
	}
	for _, text := range []string{"", strings.Replace(status, "NSpid:\t17065\t1", "NSpid:\t", 1),
		strings.Replace(status, "Seccomp:\t2", "Seccomp:\tx", 1), strings.Replace(status, "Uid:\t61234", "Uid:", 1)} {
		if _, err := parseStatus(text); err == nil {
			t.Errorf("no error for %.60q", text)
		}
	}
}

func TestTheWeakestThreadCounts(t *testing.T) {
	sound, err := parseStatus(status)
	if err != nil {
		t.Fatal(err)
	}
	for name, weak := range map[string]func(*Process){
		"uid":     func(p *Process) { p.UIDs = []string{"0", "0", "0", "0"} },
		"gid":     func(p *Process) { p.GIDs = []string{"0", "0", "0", "0"} },
		"group":   func(p *Process) { p.Groups = []string{"27"} },
		"caps":    func(p *Process) { p.Capabilities = []string{"CapEff=1"} },
		"privs":   func(p *Process) { p.NoNewPrivs = false },
		"seccomp": func(p *Process) { p.Seccomp = 0 },
		"filters": func(p *Process) { p.Filters = 0 },
	} {
		weaker := sound
		weak(&weaker)
		for _, order := range [][2]Process{{sound, weaker}, {weaker, sound}} {
			process := order[0]
			process.addThread(order[1])
			if reflect.DeepEqual(process, sound) {
				t.Errorf("%s: the weaker thread is not seen", name)
			}
		}
	}
	same := sound
	if same.addThread(sound); len(same.UIDs) != 4 || len(same.GIDs) != 4 || len(same.Groups) != 0 {
		t.Errorf("equal threads do not stay equal: %+v", same)
	}
}

func TestMountinfoIsRead(t *testing.T) {
	const text = `98 70 0:40 / / ro,nosuid,nodev,relatime - tmpfs none rw,size=8192k,mode=755
101 98 254:0 /srv/odd\040name\011x\012y\134z\043 /work\040space rw,nosuid,nodev,relatime shared:3 master:7 - ext4 /dev/root\040x rw
102 98 0:42 /sys /proc/sys ro - proc proc rw
103 98 0:43 / /gone//deleted rw - tmpfs none rw
`
	mounts, ids, err := parseMounts(strings.NewReader(text), map[string]bool{"254:0": true})
	if err != nil {
		t.Fatal(err)
	}
	want := []Mount{
		{Target: "/", FSType: "tmpfs", Root: "/", Source: "none", Flags: []string{"ro", "nosuid", "nodev", "relatime"}},
		{Target: "/work space", FSType: "ext4", Root: "/srv/odd name\tx\ny\\z#", Source: "/dev/root x",
			Flags: []string{"rw", "nosuid", "nodev", "relatime"}, Propagation: "shared:3 master:7", OnHost: true},
		{Target: "/proc/sys", FSType: "proc", Root: "/sys", Source: "proc", Flags: []string{"ro"}},
		{Target: "/gone//deleted", FSType: "tmpfs", Root: "/", Source: "none", Flags: []string{"rw"}},
	}
	if !reflect.DeepEqual(mounts, want) || !slices.Equal(ids, []int{98, 101, 102, 103}) {
		t.Errorf("got %+v %v\nwant %+v", mounts, ids, want)
	}
	for _, broken := range []string{"98 70 0:40 /\n", "98 70 0:40 / / ro tmpfs none rw\n"} {
		if _, _, err := parseMounts(strings.NewReader(broken), nil); err == nil {
			t.Errorf("no error for %q", broken)
		}
	}
	if got := devices(text + "x\n"); !maps.Equal(got, map[string]bool{"0:40": true, "254:0": true, "0:42": true, "0:43": true}) {
		t.Errorf("devices: %v", got)
	}
}

func TestSmallFilesOfProcAreRead(t *testing.T) {
	limits := parseLimits("Limit                     Soft Limit           Hard Limit           Units     \n" +
		"Max core file size        0                    unlimited            bytes     \n" +
		"Max nice priority         0                    20                   \n\nMax\n")
	if want := map[string]string{"Max core file size": "0 unlimited", "Max nice priority": "0 20"}; !maps.Equal(limits, want) {
		t.Errorf("limits: %q", limits)
	}
	groups, err := parseCgroups("9:name=systemd:/creel/a\n4:cpu,cpuacct:/creel/a:b\n0::/creel/a\n")
	if want := map[string]string{"name=systemd": "/creel/a", "cpu,cpuacct": "/creel/a:b", "": "/creel/a"}; err != nil || !maps.Equal(groups, want) {
		t.Errorf("groups: %q, %v", groups, err)
	}
	if _, err := parseCgroups("9:cpu\n"); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a broken membership: %v", err)
	}
	if got := normalizeMap("     61234      61234          1\n         0 2000000000          1\n"); got != "0 2000000000 1,61234 61234 1" {
		t.Errorf("id map: %q", got)
	}
	var p Posture
	p.addRoutes("Iface\tDestination\nlo\t0000007F\neth0\t00000000\n\n", routeDevice4)
	p.addRoutes("00 00 80200001 lo\nfe80 00 00000001 veth0\n", routeDevice6)
	if want := []string{"eth0 00000000", "fe80 00 00000001 veth0"}; !slices.Equal(p.Routes, want) {
		t.Errorf("routes: %q", p.Routes)
	}
}

// A process of this host, whose descriptors and identity are known.
func TestProcessesAreReadFromTheKernel(t *testing.T) {
	dir, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	cmd := exec.Command("cat")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles, cmd.Stdout, cmd.Dir = []*os.File{dir}, &bytes.Buffer{}, "/"
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { stdin.Close(); cmd.Wait() }()
	own, err := namespacesOf(kernelfile.Path, "/proc/self/")
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := maps.Clone(own)
	elsewhere["net"] = "net:[1]"
	p, err := readProcess(cmd.Process.Pid, elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	if !p.Dumpable || !p.AtRoot || p.NSPid == 0 || p.Exe.Ino == 0 || p.Limits["Max open files"] == "" || !slices.Equal(p.Elsewhere, []string{"net"}) {
		t.Errorf("got %+v", p)
	}
	if !slices.Contains(p.FDs, FD{3, dir.Name(), 0}) {
		t.Errorf("the inherited directory is not among %v", p.FDs)
	}
	if _, err := readProcess(1<<22+1, own); !errors.Is(err, unix.ENOENT) {
		t.Errorf("a process that is not: %v", err)
	}
}

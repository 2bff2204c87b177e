// Package verify runs `creel credential verify-no-leak` on a real supervisor,
// on a host of its own: the tests start themselves a second time with their own
// processes, mounts and disk, so that what others do on the machine is neither
// searched nor in the way.
//
// Its tests import testrig and know creel as an operator does. They never leak
// anything but a canary.
package verify

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/integration/testrig"
)

var (
	onHost   = flag.Bool("on-own-host", false, "this is the second start, which TestMain makes itself")
	binaries = flag.String("binaries", "", "with -on-own-host: where the programs were built")
)

// diskDir is where the own host has a disk, of ext4.
const diskDir = "/mnt"

// tracing takes what is to be in the kernel's trace.
const tracing = "/sys/kernel/tracing/trace_marker"

// machineDisk is the place of what the machine's own disk is for the own host.
const machineDisk = "files written on / ("

func TestMain(m *testing.M) {
	flag.Parse()
	code, err := 0, error(nil)
	if *onHost {
		if err = enterHost(); err == nil {
			code = m.Run()
		}
	} else {
		code, err = startOnHost()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "verify: error:", err)
		code = 1
	}
	os.Exit(code)
}

// startOnHost builds the programs, which belong to the machine, and starts
// this test again.
func startOnHost() (int, error) {
	built, err := testrig.Build()
	if err != nil {
		return 0, err
	}
	self := exec.Command("/proc/self/exe", append([]string{"-on-own-host", "-binaries=" + built}, os.Args[1:]...)...)
	self.Stdout, self.Stderr = os.Stdout, os.Stderr
	self.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Cloneflags: syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	err = self.Run()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return max(failed.ExitCode(), 1), nil
	}
	return 0, err
}

// memory are the directories that the own host has in memory.
var memory = []string{"/tmp", "/run", "/var/tmp", "/var/log", "/var/lib", "/var/spool", "/dev/shm", "/srv"}

// enterHost arranges the mounts.
func enterHost() error {
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	built, err := os.OpenRoot(*binaries) // which may be below one of them
	if err != nil {
		return err
	}
	defer built.Close()
	for _, dir := range memory {
		for unix.Unmount(dir, unix.MNT_DETACH) == nil { // else it would be hidden below
		}
		mode := "mode=755"
		if dir == "/tmp" || dir == "/dev/shm" {
			mode = "mode=1777"
		}
		if err := unix.Mount("own", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, mode); err != nil {
			return fmt.Errorf("mount %s: %w", dir, err)
		}
	}
	*binaries = "/srv/bin"
	if err := os.CopyFS(*binaries, built.FS()); err != nil {
		return fmt.Errorf("copy programs: %w", err)
	}
	if _, err := os.Stat(tracing); err != nil {
		if err := unix.Mount("tracefs", filepath.Dir(tracing), "tracefs", 0, ""); err != nil {
			return fmt.Errorf("mount tracer: %w", err)
		}
	}
	const image = "/var/tmp/disk"
	for _, argv := range [][]string{
		{"truncate", "--size=64M", image}, {"/sbin/mkfs.ext4", "-q", image}, {"mount", "-o", "loop", image, diskDir},
	} {
		if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("run %v: %w: %s", argv, err, out)
		}
	}
	return os.Setenv("TMPDIR", "/tmp")
}

// rig is a supervisor whose default policy has two credentials, neither of
// which exists: the providers are not asked.
type rig struct{ *testrig.Rig }

const credentials = `credentials:
  - {env: TOKEN, from: "systemd:there-is-none"}
  - {env: PASSWORD, from: "exec:/no/such/helper"}
logs: {keep: 64KiB}
`

func start(t *testing.T, o testrig.Options) *rig {
	t.Helper()
	o.Policy, o.Binaries = credentials+o.Policy, *binaries
	return &rig{testrig.Start(t, o)}
}

// report is what verify-no-leak writes with --json: the keys that are promised.
type report struct {
	Verdict, Policy, Engine, Sandbox, Reason string
	ExitCode                                 int
	Variables, LeftOut, Limits               []string
	Places                                   []struct{ Name, State, Detail string }
	Findings                                 []finding
}

type finding struct {
	Place, Where, Form, Process string
	Offset                      int64
}

// verify runs it on all but the machine's disk, and checks its exit code.
func (r *rig) verify(t *testing.T, code int, args ...string) report {
	t.Helper()
	return r.told(t, code, r.Run(r.prepare(args...)))
}

func (r *rig) prepare(args ...string) *exec.Cmd {
	return r.Command(slices.Concat([]string{"credential", "verify-no-leak", "--json", "--except", machineDisk + diskType() + ")"}, args)...)
}

// anyCode is for what may end either way.
const anyCode = -1

func (r *rig) told(t *testing.T, code int, got testrig.Result) report {
	t.Helper()
	var told report
	if err := json.Unmarshal([]byte(got.Stdout), &told); err != nil {
		t.Fatalf("exit code %d: %v\n%s%s\n%s", got.Code, err, got.Stdout, got.Stderr, r.Log())
	}
	if code != anyCode && got.Code != code {
		t.Errorf("exit code %d, want %d: %s, %+v\n%s", got.Code, code, told.Verdict, told.Findings, got.Stderr)
		for _, place := range told.Places {
			if place.State == "not-covered" {
				t.Errorf("%+v", place)
			}
		}
	}
	return told
}

// diskType is that of the machine's own disk.
func diskType() string {
	out, err := exec.Command("findmnt", "--noheadings", "--output", "FSTYPE", "/").Output()
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(out))
}

// state is that of a place.
func (p report) state(name string) string {
	for _, place := range p.Places {
		if place.Name == name {
			return place.State
		}
	}
	return "not listed"
}

// finds reports whether there is a finding of a place, with a text in where it
// was.
func (p report) finds(place, where string) bool {
	for _, f := range p.Findings {
		if f.Place == place && strings.Contains(f.Where, where) {
			return true
		}
	}
	return false
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

package enginetest

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/integration/testrig"
)

func TestHostDevicesStayRootsOwn(t *testing.T) {
	devices := []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"}
	onEachTarget(t, nil, func(t *testing.T, s *site) {
		before := owners(t, devices)
		script := "for d in " + strings.Join(devices, " ") + "; do chmod 600 $d; chown $(id -u) $d; touch -d 2001-01-01 $d; setfattr -n user.x $d; rm $d; done 2>/tmp/said; cat /tmp/said >&2; echo x > /dev/null && echo fine"
		r := s.Shell(script)
		if r.Stdout != "fine\n" || strings.Count(r.Stderr, "chmod: changing permissions of") != len(devices) {
			t.Errorf("devices were changed: %+v", r)
		}
		for device, owner := range owners(t, devices) {
			if owner != before[device] || owner.uid != 0 {
				t.Errorf("%s belongs to %d with mode %o; before %+v", device, owner.uid, owner.mode, before[device])
			}
		}
	})
}

// TestForeignDeviceRefusesTheRun makes the supervisor's own /dev/null belong
// to the sandbox's user, as crun once did, in a /dev that is only the test's.
func TestForeignDeviceRefusesTheRun(t *testing.T) {
	// Docker makes nodes of its own; and what waits already has its own.
	on(t, those(func(t testrig.Target) bool { return !t.Docker() && !t.Warm }), nil, func(t *testing.T, s *site) {
		null := s.Dir + "/null"
		s.check(unix.Mknod(null, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
		s.check(os.Chmod(null, 0o666))
		s.check(os.Chown(null, 61234, 61234))
		s.inSupervisor(t, "mount", "--bind", null, "/dev/null")
		r := s.Shell("echo ran")
		if r.Code != 125 || r.Stdout != "" || !strings.Contains(r.Stderr, "/dev/null: a device of the host that belongs to uid 61234") {
			t.Errorf("a sandbox whose user owns its /dev/null: %+v", r)
		}
		s.check(os.Chown(null, 0, 0))
		if r := s.Shell("echo ran"); r.Stdout != "ran\n" {
			t.Errorf("the control: %+v", r)
		}
	})
}

type owner struct{ uid, gid, mode uint32 }

func owners(t *testing.T, paths []string) map[string]owner {
	t.Helper()
	found := map[string]owner{}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		st := info.Sys().(*syscall.Stat_t)
		found[path] = owner{st.Uid, st.Gid, st.Mode}
	}
	return found
}

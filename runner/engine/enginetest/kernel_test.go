package enginetest

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
)

func TestSandboxCannotWriteKernelSettings(t *testing.T) {
	settings := []string{
		"/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/kernel/modprobe", "/proc/sys/vm/overcommit_memory",
		"/proc/sys/net/ipv4/ip_forward", "/proc/sys/fs/file-max", "/proc/sys/user/max_user_namespaces", "/proc/sys/kernel/ns_last_pid",
		"/proc/sysrq-trigger", "/proc/self/uid_map", "/proc/self/gid_map", "/proc/self/setgroups",
	}
	gone := []string{ // what a sandbox has no trace of
		"/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/unified/cgroup.procs",
		"/sys/kernel/uevent_helper", "/sys/power/state", "/sys/firmware", "/sys/kernel/security", "/sys/kernel/debug", "/sys/module",
	}
	onEachTarget(t, nil, func(t *testing.T, s *site) {
		for _, policy := range []string{filtered, unfiltered} {
			got := s.inside(policy, append([]string{"opens"}, settings...)...)
			// /dev/null lies over the trigger; the maps are written by now.
			want := got.all("EACCES|EROFS|EPERM|ENOENT", outcomes{"/proc/sysrq-trigger": "ok|EACCES|ENOENT"})
			for _, own := range []string{"uid_map", "gid_map", "setgroups"} {
				want["/proc/self/"+own] = "ok|EACCES|EPERM|EROFS"
			}
			got.expect(t, policy, want)
			got = s.inside(policy, append([]string{"opens"}, gone...)...)
			got.expect(t, policy, got.all("ENOENT", nil))
		}
		control := s.control(0, append([]string{"opens"}, settings...)...)
		control.expect(t, "root outside", control.all("ok", outcomes{
			// Some kernels are built without these, and one asks for more than being root.
			"/proc/sys/kernel/modprobe": "ok|ENOENT", "/proc/sys/kernel/ns_last_pid": "ok|ENOENT", "/proc/sysrq-trigger": "ok|ENOENT",
			"/proc/sys/user/max_user_namespaces": "ok|EACCES",
		}))
		sys := "2\n"
		if s.Target.Docker() {
			sys = "fs\n0\n" // a mount point in an empty file system; the next is empty too
		} else if s.Target.Root != "host" {
			sys = "0\n" // the root's own directory
		}
		// What could be opened is not what it is called, or says no.
		for script, want := range map[string]string{
			"[ ! -e /proc/sysrq-trigger ] || stat -c %t,%T /proc/sysrq-trigger | grep -v 1,3": "",
			"echo '0 0 4294967295' > /proc/self/uid_map; echo $?":                             "1\n",
			"echo '0 0 1' > /proc/self/gid_map; echo $?":                                      "1\n",
			"echo allow > /proc/self/setgroups; cat /proc/self/setgroups":                     "allow\n", // as the runtime left it
			"ls /sys 2>/dev/null; echo $?":                                                    sys,
			"ls /sys/* /sys/fs/cgroup/* 2>/dev/null | grep -v -e ^cgroup -e :; echo $?":       "1\n",
			"awk '{print $1}' /proc/self/cgroup | wc -l | grep -q . && echo ok":               "ok\n",
		} {
			if r := s.Exec("bash", "-c", script); r.Stdout != want {
				t.Errorf("%s: %q, want %q (%s)", script, r.Stdout, want, r.Stderr)
			}
		}
	})
}

func TestSandboxCannotReadKernelSecrets(t *testing.T) {
	secrets := []string{
		"/proc/kcore", "/proc/keys", "/proc/key-users", "/proc/kallsyms", "/proc/kmsg", "/proc/modules", "/proc/timer_list",
		"/proc/cmdline", "/proc/interrupts", "/proc/sched_debug", "/proc/acpi/wakeup", "/proc/scsi/scsi",
	}
	never := []string{ // of the host; a root of its own may have the last
		"/dev/mem", "/dev/kmsg", "/dev/vda", "/dev/sda", "/dev/kvm", "/dev/fuse", "/dev/net/tun", "/dev/vsock", "/dev/console", "/dev/tty0",
		"/sys/firmware/acpi/tables/DSDT", "/sys/class/dmi/id/product_uuid", "/etc/shadow", "/etc/machine-id", "/root", "/home", "/var", "/run", "/boot",
	}
	const ofRoots = 7
	onEachTarget(t, nil, func(t *testing.T, s *site) {
		never := never
		if s.Target.Root != "host" {
			never = never[:len(never)-ofRoots]
		}
		for _, policy := range []string{filtered, unfiltered} {
			got := s.inside(policy, append([]string{"read"}, secrets...)...)
			got.expect(t, policy, got.all("empty|ENOENT", nil))
			got = s.inside(policy, append([]string{"read"}, never...)...)
			got.expect(t, policy, got.all("ENOENT", nil))
		}
		control := s.control(0, "read", "/proc/keys", "/proc/key-users", "/proc/kallsyms", "/proc/cmdline", "/proc/interrupts", "/etc/shadow")
		control.expect(t, "root outside", control.all("ok", nil))
		// The probe can read where it may.
		s.inside(filtered, "read", "/proc/version", "/proc/self/status").expect(t, "inside", outcomes{"/proc/version": "ok", "/proc/self/status": "ok"})
	})
}

// TestNothingOfProcIsWritable tries every file of /proc that belongs to no
// process, so that one that a new kernel brings is noticed.
func TestNothingOfProcIsWritable(t *testing.T) {
	onEachTarget(t, nil, func(t *testing.T, s *site) {
		// Over some of them lies /dev/null.
		script := `find /proc -path '/proc/[0-9]*' -prune -o -path /proc/self -prune -o -path /proc/thread-self -prune -o -writable ! -type d -exec test -f {} \; -print 2>/dev/null`
		if r := s.Exec("bash", "-c", script); r.Stdout != "" {
			got := s.inside(filtered, append([]string{"opens"}, strings.Fields(r.Stdout)...)...)
			got.expect(t, "writable", got.all("EACCES|EROFS|EPERM", nil))
		}
		// The control: the same search finds the writable files of a process.
		if r := s.Exec("bash", "-c", "find /proc/self/ -maxdepth 1 -type f -writable -name oom_score_adj"); r.Stdout == "" {
			t.Error("the search finds nothing where there is something")
		}
	})
}

func TestSandboxCannotMakeOrEnterNamespaces(t *testing.T) {
	onEachTarget(t, nil, func(t *testing.T, s *site) {
		control := s.control(0, "namespaces")
		for _, policy := range []string{filtered, unfiltered} {
			got := s.inside(policy, "namespaces")
			want := got.all("EPERM", nil)
			for name := range got {
				if strings.HasPrefix(name, "clone3 ") {
					want[name] = "ENOSYS"
				}
			}
			got.expect(t, policy, want)
			control.differs(t, got)
		}
		for _, tool := range []string{"unshare -U true", "unshare -r id", "nsenter -t 1 -m true", "nsenter -t 1 -U true", "chroot / true"} {
			if r := s.Shell(tool); r.Code == 0 {
				t.Errorf("%s: succeeded: %q", tool, r.Stdout)
			}
		}
	})
}

func TestDangerousSystemCallsAreRefused(t *testing.T) {
	onEachTarget(t, nil, func(t *testing.T, s *site) {
		got := s.inside(filtered, "calls")
		got.expect(t, filtered, got.all("EPERM", nil))
		s.control(0, "calls").differs(t, got)
	})
}

func TestOnlyInternetAndUnixSocketsExist(t *testing.T) {
	onEachTarget(t, nil, func(t *testing.T, s *site) {
		control := s.control(0, "sockets")
		for _, policy := range []string{filtered, unfiltered} {
			got := s.inside(policy, "sockets")
			want := got.all("EAFNOSUPPORT", outcomes{
				"unix": "ok", "tcp": "ok", "udp": "ok", "tcp6": "ok",
				"raw": "EPERM", "raw6": "EPERM", "mptcp": "EPERM", "sctp": "EPERM|EPROTONOSUPPORT",
			})
			if policy == unfiltered {
				want["mptcp"] = "ok|EPERM" // its own policy asked for it
			}
			got.expect(t, policy, want)
			control.differs(t, got, "unix", "tcp", "udp", "tcp6", "mptcp", "sctp", "bluetooth", "can", "alg", "xdp", "vsock", "vsock, upper bit")
		}
	})
}

func TestForeignABIsDie(t *testing.T) {
	onEachTarget(t, nil, func(t *testing.T, s *site) {
		const killed = 128 + int(syscall.SIGSYS)
		for _, policy := range []string{filtered, unfiltered} {
			for abi, want := range map[string]int{"native": 0, "int80": killed, "int80 socket": killed, "x32": killed} {
				r := s.Creel("exec", "--policy", policy, "--", "/data/probe", "abi", abi)
				if r.Code != want || want != 0 && r.Stdout != "" {
					t.Errorf("%s: %s: exit %d, %q, want %d", policy, abi, r.Code, r.Stdout, want)
				}
			}
		}
		for abi, want := range map[string]outcomes{
			"native": {"getpid": "ok"}, "int80": {"getpid": "ok"}, "int80 socket": {"socket": "ok"}, "x32": {"getpid": "ok|ENOSYS"},
		} {
			s.control(0, "abi", abi).expect(t, "outside: "+abi, want)
		}
	})
}

func TestTerminalCannotBeTypedOn(t *testing.T) {
	onEachTarget(t, nil, func(t *testing.T, s *site) {
		run := func(cmd *exec.Cmd) outcomes {
			t.Helper()
			terminal, err := pty.Start(cmd)
			s.check(err)
			defer terminal.Close()
			var printed bytes.Buffer
			_, _ = printed.ReadFrom(terminal) // ends with EIO
			if err := cmd.Wait(); err != nil {
				t.Fatalf("%v: %v: %s", cmd.Args, err, printed.String())
			}
			return parse(t, strings.TrimSpace(strings.ReplaceAll(printed.String(), "\r", ""))+"\n")
		}
		for _, policy := range []string{filtered, unfiltered} {
			got := run(s.Command("exec", "-i", "-t", "--policy", policy, "--", "/data/probe", "terminal"))
			got.expect(t, policy, got.all("EPERM", outcomes{"window size": "ok"}))
			control := run(exec.Command(s.outside+"/probe", "terminal"))
			control.differs(t, got, "window size")
		}
	})
}

func TestSandboxHoldsNoForeignDescriptor(t *testing.T) {
	onEachTarget(t, nil, func(t *testing.T, s *site) {
		descriptors := func(got outcomes) outcomes {
			found := outcomes{}
			for name, kind := range got {
				if strings.HasPrefix(name, "fd ") {
					found[name] = kind
				}
			}
			return found
		}
		want := outcomes{"fd 0": "pipe", "fd 1": "pipe", "fd 2": "pipe"}
		// The client's own descriptors are the caller's, and stay there.
		cmd := s.Command("exec", "--", "/data/probe", "view")
		cmd.ExtraFiles = []*os.File{os.Stdin, os.Stderr}
		descriptors(parse(t, s.Run(cmd).Stdout)).expect(t, "inside", want)
		outside := exec.Command(s.outside+"/probe", "view")
		outside.ExtraFiles = cmd.ExtraFiles
		got := descriptors(parse(t, s.Run(outside).Stdout))
		if got["fd 3"] == "" || got["fd 4"] == "" {
			t.Errorf("the probe outside sees %v and not what it was given", got)
		}
	})
}

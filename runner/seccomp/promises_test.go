package seccomp

import (
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// verdict is one call and what must come of it, written down here and not
// taken from the profile.
type verdict struct {
	what string
	nr   int
	args [6]uint64
	want Action
}

func check(t *testing.T, profile *Profile, verdicts []verdict) {
	t.Helper()
	machine := newMachine(t, mustCompile(t, profile))
	for _, v := range verdicts {
		if got := machine.run(v.nr, v.args); got != v.want {
			t.Errorf("%s: call %d(%#x): %s, want %s", v.what, v.nr, v.args, got, v.want)
		}
	}
}

// number finds a call by name, so that lists can be written as words.
func number(t *testing.T, name string) int {
	t.Helper()
	nr, native, _ := resolve(name)
	if !native {
		t.Fatalf("%s is no call of this machine", name)
	}
	return nr
}

func words(t *testing.T, want Action, list string) []verdict {
	var verdicts []verdict
	for _, name := range strings.Fields(list) {
		verdicts = append(verdicts, verdict{name, number(t, name), [6]uint64{}, want})
	}
	return verdicts
}

const (
	eperm        = syscall.EPERM
	enosys       = syscall.ENOSYS
	eafnosupport = syscall.EAFNOSUPPORT
	// upper is a bit the kernel drops from int arguments.
	upper = 1 << 32
)

var namespaceFlags = map[string]uint64{
	"CLONE_NEWNS": unix.CLONE_NEWNS, "CLONE_NEWCGROUP": unix.CLONE_NEWCGROUP, "CLONE_NEWUTS": unix.CLONE_NEWUTS,
	"CLONE_NEWIPC": unix.CLONE_NEWIPC, "CLONE_NEWUSER": unix.CLONE_NEWUSER, "CLONE_NEWPID": unix.CLONE_NEWPID,
	"CLONE_NEWNET": unix.CLONE_NEWNET,
}

// namespaceVerdicts hold under the default profile and the floor.
func namespaceVerdicts() []verdict {
	// What glibc's fork and pthread_create pass, and Go's newosproc.
	fork := uint64(unix.CLONE_CHILD_SETTID | unix.CLONE_CHILD_CLEARTID | uint64(unix.SIGCHLD))
	thread := uint64(0x3d0f00)
	goThread := uint64(unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD)
	vfork := uint64(unix.CLONE_VFORK | unix.CLONE_VM | unix.CLONE_PIDFD | uint64(unix.SIGCHLD))
	var list []verdict
	for what, flags := range map[string]uint64{"fork": fork, "thread": thread, "Go thread": goThread, "Go os/exec": vfork} {
		list = append(list, verdict{what, unix.SYS_CLONE, [6]uint64{flags}, Allow})
		for name, flag := range namespaceFlags {
			list = append(list,
				verdict{what + " with " + name, unix.SYS_CLONE, [6]uint64{flags | flag}, Errno(eperm)},
				verdict{what + " with upper bit and " + name, unix.SYS_CLONE, [6]uint64{upper | flags | flag}, Errno(eperm)})
		}
	}
	return append(list,
		verdict{"clone3", unix.SYS_CLONE3, [6]uint64{}, Errno(enosys)},
		verdict{"unshare", unix.SYS_UNSHARE, [6]uint64{unix.CLONE_NEWUSER}, Errno(eperm)},
		verdict{"setns", unix.SYS_SETNS, [6]uint64{3, 0}, Errno(eperm)})
}

func terminalVerdicts() []verdict {
	var list []verdict
	for what, command := range map[string]uint64{"TIOCSTI": unix.TIOCSTI, "TIOCLINUX": unix.TIOCLINUX, "TIOCSETD": unix.TIOCSETD, "TIOCCONS": unix.TIOCCONS} {
		for _, high := range []uint64{0, upper, 0xffffffff << 32} {
			list = append(list, verdict{what, unix.SYS_IOCTL, [6]uint64{0, high | command}, Errno(eperm)})
		}
	}
	for _, command := range []uint64{unix.TCGETS, unix.TIOCGWINSZ, unix.TIOCSWINSZ, unix.TIOCSCTTY, unix.TIOCSPTLCK, unix.TIOCGPTN, unix.TIOCINQ, unix.FICLONE, unix.TIOCSTI + 1, unix.TIOCSTI - 1} {
		list = append(list, verdict{"harmless ioctl", unix.SYS_IOCTL, [6]uint64{0, command}, Allow})
	}
	return list
}

// familyVerdicts hold under both: three families and no other, whatever the
// upper half of the register holds.
func familyVerdicts() []verdict {
	var list []verdict
	for family := range uint64(64) {
		want := Errno(eafnosupport)
		if family == unix.AF_UNIX || family == unix.AF_INET || family == unix.AF_INET6 {
			want = Allow
		}
		for _, high := range []uint64{0, upper} {
			list = append(list, verdict{"family", unix.SYS_SOCKET, [6]uint64{high | family, unix.SOCK_STREAM | unix.SOCK_CLOEXEC}, want})
		}
	}
	return list
}

func TestDefaultProfileMakesNoNamespace(t *testing.T) {
	check(t, defaultProfile(t), namespaceVerdicts())
}
func TestFloorMakesNoNamespace(t *testing.T) { check(t, floorProfile(t), namespaceVerdicts()) }
func TestDefaultProfileTypesIntoNoTerminal(t *testing.T) {
	check(t, defaultProfile(t), terminalVerdicts())
}
func TestFloorTypesIntoNoTerminal(t *testing.T) { check(t, floorProfile(t), terminalVerdicts()) }
func TestDefaultProfileHasThreeSocketFamilies(t *testing.T) {
	check(t, defaultProfile(t), familyVerdicts())
}
func TestFloorHasThreeSocketFamilies(t *testing.T) { check(t, floorProfile(t), familyVerdicts()) }

func TestDefaultProfileRefusesDangerousCalls(t *testing.T) {
	check(t, defaultProfile(t), words(t, Errno(eperm), `
		io_uring_setup io_uring_enter io_uring_register userfaultfd keyctl add_key request_key
		ptrace process_vm_readv process_vm_writev process_madvise pidfd_getfd kcmp
		bpf perf_event_open unshare setns mount umount2 pivot_root chroot
		fsopen fsconfig fsmount fspick open_tree move_mount mount_setattr open_tree_attr
		name_to_handle_at open_by_handle_at quotactl quotactl_fd swapon swapoff reboot
		kexec_load kexec_file_load init_module finit_module delete_module acct syslog
		settimeofday clock_settime clock_adjtime adjtimex iopl ioperm modify_ldt lookup_dcookie
		move_pages mbind set_mempolicy migrate_pages fanotify_init memfd_secret sethostname
		setdomainname setgroups vhangup`))
	check(t, defaultProfile(t), words(t, Errno(unix.EMFILE), `inotify_init inotify_init1`))
	check(t, defaultProfile(t), words(t, Errno(enosys), `clone3 statmount listmount io_setup nfsservctl create_module uselib _sysctl`))
}

func TestFloorRefusesWhatNoProfileMayOpen(t *testing.T) {
	check(t, floorProfile(t), words(t, Errno(eperm), `
		bpf perf_event_open userfaultfd keyctl add_key request_key unshare setns
		mount umount2 pivot_root chroot fsopen fsconfig fsmount fspick open_tree move_mount mount_setattr open_tree_attr
		name_to_handle_at open_by_handle_at kexec_load kexec_file_load init_module finit_module delete_module
		swapon swapoff reboot iopl ioperm modify_ldt acct syslog`))
}

func TestFloorLeavesInitItsCallsAndProfilesTheirs(t *testing.T) {
	check(t, floorProfile(t), words(t, Allow, `
		read write close mmap clone execve wait4 waitid pidfd_open pidfd_send_signal epoll_create1 epoll_ctl
		epoll_pwait seccomp prctl setsid bind listen accept4 sendmsg recvmsg openat ioctl rt_sigaction
		futex kill exit_group close_range dup3 chdir prlimit64 setrlimit io_uring_setup ptrace`))
	check(t, floorProfile(t), []verdict{
		{"fork", unix.SYS_CLONE, [6]uint64{uint64(unix.SIGCHLD)}, Allow},
		{"listen socket", unix.SYS_SOCKET, [6]uint64{unix.AF_INET, unix.SOCK_STREAM}, Allow},
		{"seccomp", unix.SYS_SECCOMP, [6]uint64{1, 0}, Allow},
	})
}

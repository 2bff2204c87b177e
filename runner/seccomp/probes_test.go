package seccomp

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// probe is one dangerous call made for real, with arguments that do no harm
// where nothing refuses it: descriptors that are not open, pointers to
// nothing, commands that do not exist.
type probe struct {
	what string
	nr   uintptr
	args [6]uintptr
	want syscall.Errno // under the default profile
	// maybe marks a call whose outcome without a filter may be the same,
	// because this kernel is built without it.
	maybe bool
}

// try makes the call and gives its errno, 0 for success.
func (p probe) try() syscall.Errno {
	_, _, errno := unix.Syscall6(p.nr, p.args[0], p.args[1], p.args[2], p.args[3], p.args[4], p.args[5])
	return errno
}

const none = ^uintptr(0) // a descriptor, id or pointer that is none

var (
	missing = []byte("/creel-none\x00")
	device  = []byte("device\x00") // in the working directory, which the test removes
	disk    = []byte("disk\x00")
	buffer  [256]byte
)

func text(b []byte) uintptr { return uintptr(unsafe.Pointer(&b[0])) }

// dangerousProbes covers every call that a rule of the default profile or of
// the floor refuses with EPERM; a test holds it to that.
func dangerousProbes() []probe {
	list := slicesOf(processProbes(), fileProbes(), hostProbes(), socketProbes(), argumentProbes())
	for name, flag := range namespaceFlags {
		// CLONE_SIGHAND without CLONE_VM: EINVAL where no filter is.
		list = append(list, probe{"clone with " + name, unix.SYS_CLONE, [6]uintptr{uintptr(flag | unix.CLONE_SIGHAND)}, eperm, false})
	}
	return list
}

func slicesOf(lists ...[]probe) []probe {
	var all []probe
	for _, list := range lists {
		all = append(all, list...)
	}
	return all
}

func processProbes() []probe {
	return []probe{
		{"clone3", unix.SYS_CLONE3, [6]uintptr{0, 0}, enosys, false},
		{"unshare", unix.SYS_UNSHARE, [6]uintptr{0}, eperm, false},
		{"unshare of users", unix.SYS_UNSHARE, [6]uintptr{unix.CLONE_NEWUSER}, eperm, false},
		{"unshare of host names", unix.SYS_UNSHARE, [6]uintptr{unix.CLONE_NEWUTS}, eperm, false},
		{"setns", unix.SYS_SETNS, [6]uintptr{none, 0}, eperm, false},
		{"ptrace", unix.SYS_PTRACE, [6]uintptr{unix.PTRACE_PEEKDATA, 0x7ffffff0}, eperm, false},
		{"process_vm_readv", unix.SYS_PROCESS_VM_READV, [6]uintptr{0x7ffffff0}, eperm, false},
		{"process_vm_writev", unix.SYS_PROCESS_VM_WRITEV, [6]uintptr{0x7ffffff0}, eperm, false},
		{"process_madvise", unix.SYS_PROCESS_MADVISE, [6]uintptr{none}, eperm, false},
		{"process_mrelease", unix.SYS_PROCESS_MRELEASE, [6]uintptr{none}, eperm, false},
		{"kcmp", unix.SYS_KCMP, [6]uintptr{0x7ffffff0, 0x7ffffff0}, eperm, false},
		{"pidfd_getfd", unix.SYS_PIDFD_GETFD, [6]uintptr{none}, eperm, false},
		{"prlimit64 of init", unix.SYS_PRLIMIT64, [6]uintptr{1, unix.RLIMIT_NOFILE, 0, text(buffer[:])}, eperm, false},
		{"io_uring_setup", unix.SYS_IO_URING_SETUP, [6]uintptr{0, 0}, eperm, false},
		{"io_uring_enter", unix.SYS_IO_URING_ENTER, [6]uintptr{none}, eperm, false},
		{"io_uring_register", unix.SYS_IO_URING_REGISTER, [6]uintptr{none}, eperm, false},
		{"io_setup", unix.SYS_IO_SETUP, [6]uintptr{0, 0}, enosys, false},
		{"inotify_init", unix.SYS_INOTIFY_INIT, [6]uintptr{}, unix.EMFILE, false},
		{"inotify_init1", unix.SYS_INOTIFY_INIT1, [6]uintptr{none}, unix.EMFILE, false},
		{"userfaultfd", unix.SYS_USERFAULTFD, [6]uintptr{none}, eperm, false},
		{"add_key", unix.SYS_ADD_KEY, [6]uintptr{}, eperm, false},
		{"request_key", unix.SYS_REQUEST_KEY, [6]uintptr{}, eperm, false},
		{"keyctl", unix.SYS_KEYCTL, [6]uintptr{0, none - 2}, eperm, false},
		{"bpf", unix.SYS_BPF, [6]uintptr{none}, eperm, false},
		{"perf_event_open", unix.SYS_PERF_EVENT_OPEN, [6]uintptr{0, 0, none, none, none}, eperm, false},
		{"memfd_secret", unix.SYS_MEMFD_SECRET, [6]uintptr{none}, eperm, false},
		{"get_mempolicy", unix.SYS_GET_MEMPOLICY, [6]uintptr{0, 0, 0, 0, none}, eperm, false},
		{"set_mempolicy", unix.SYS_SET_MEMPOLICY, [6]uintptr{none}, eperm, false},
		{"mbind", unix.SYS_MBIND, [6]uintptr{1, 1, none}, eperm, false},
		{"migrate_pages", unix.SYS_MIGRATE_PAGES, [6]uintptr{0x7ffffff0, 8}, eperm, false},
		{"move_pages", unix.SYS_MOVE_PAGES, [6]uintptr{0x7ffffff0}, eperm, false},
		{"set_mempolicy_home_node", unix.SYS_SET_MEMPOLICY_HOME_NODE, [6]uintptr{1, 1, none, none}, eperm, false},
		{"modify_ldt", unix.SYS_MODIFY_LDT, [6]uintptr{0, 0, 0}, eperm, false},
		{"seccomp with a listener", unix.SYS_SECCOMP, [6]uintptr{unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, 0}, eperm, false},
		{"mq_open", unix.SYS_MQ_OPEN, [6]uintptr{}, eperm, false},
		{"mq_unlink", unix.SYS_MQ_UNLINK, [6]uintptr{}, eperm, false},
		{"mq_timedsend", unix.SYS_MQ_TIMEDSEND, [6]uintptr{none}, eperm, false},
		{"mq_timedreceive", unix.SYS_MQ_TIMEDRECEIVE, [6]uintptr{none}, eperm, false},
		{"mq_notify", unix.SYS_MQ_NOTIFY, [6]uintptr{none}, eperm, false},
		{"mq_getsetattr", unix.SYS_MQ_GETSETATTR, [6]uintptr{none}, eperm, false},
		{"setgroups", unix.SYS_SETGROUPS, [6]uintptr{none}, eperm, false},
		{"setfsuid", unix.SYS_SETFSUID, [6]uintptr{none}, eperm, false},
		{"setfsgid", unix.SYS_SETFSGID, [6]uintptr{none}, eperm, false},
	}
}

func fileProbes() []probe {
	path, cwd := text(missing), unix.AT_FDCWD
	return []probe{
		{"mount", unix.SYS_MOUNT, [6]uintptr{path, path, path}, eperm, false},
		{"umount2", unix.SYS_UMOUNT2, [6]uintptr{path}, eperm, false},
		{"pivot_root", unix.SYS_PIVOT_ROOT, [6]uintptr{path, path}, eperm, false},
		{"chroot", unix.SYS_CHROOT, [6]uintptr{path}, eperm, false},
		{"open_tree", unix.SYS_OPEN_TREE, [6]uintptr{none, path, 0}, eperm, false},
		{"open_tree_attr", unix.SYS_OPEN_TREE_ATTR, [6]uintptr{none, path, none}, eperm, false},
		{"move_mount", unix.SYS_MOVE_MOUNT, [6]uintptr{none, path, none, path, none}, eperm, false},
		{"fsopen", unix.SYS_FSOPEN, [6]uintptr{path}, eperm, false},
		{"fsconfig", unix.SYS_FSCONFIG, [6]uintptr{none}, eperm, false},
		{"fsmount", unix.SYS_FSMOUNT, [6]uintptr{none}, eperm, false},
		{"fspick", unix.SYS_FSPICK, [6]uintptr{none, path}, eperm, false},
		{"mount_setattr", unix.SYS_MOUNT_SETATTR, [6]uintptr{none, path}, eperm, false},
		{"statmount", unix.SYS_STATMOUNT, [6]uintptr{}, enosys, true},
		{"listmount", unix.SYS_LISTMOUNT, [6]uintptr{}, enosys, true},
		{"name_to_handle_at", unix.SYS_NAME_TO_HANDLE_AT, [6]uintptr{none, path}, eperm, false},
		{"open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT, [6]uintptr{none}, eperm, false},
		{"fanotify_init", unix.SYS_FANOTIFY_INIT, [6]uintptr{none}, eperm, false},
		{"fanotify_mark", unix.SYS_FANOTIFY_MARK, [6]uintptr{none}, eperm, false},
		{"mknod of /dev/null", unix.SYS_MKNOD, [6]uintptr{text(device), unix.S_IFCHR | 0o600, 1<<8 | 3}, eperm, false},
		{"mknodat of a disk", unix.SYS_MKNODAT, [6]uintptr{uintptr(cwd), text(disk), unix.S_IFBLK | 0o600, 8 << 8}, eperm, false},
		{"vmsplice", unix.SYS_VMSPLICE, [6]uintptr{none, 0, 0, 0}, eperm, false},
		{"sync", unix.SYS_SYNC, [6]uintptr{}, eperm, false},
		{"quotactl", unix.SYS_QUOTACTL, [6]uintptr{none, path}, eperm, false},
		{"quotactl_fd", unix.SYS_QUOTACTL_FD, [6]uintptr{none, none}, eperm, false},
	}
}

func hostProbes() []probe {
	path := text(missing)
	return []probe{
		{"swapon", unix.SYS_SWAPON, [6]uintptr{path}, eperm, false},
		{"swapoff", unix.SYS_SWAPOFF, [6]uintptr{path}, eperm, false},
		{"reboot", unix.SYS_REBOOT, [6]uintptr{1, 2, 3}, eperm, false},
		{"kexec_load", unix.SYS_KEXEC_LOAD, [6]uintptr{0, none, 0, 0xffff}, eperm, false},
		{"kexec_file_load", unix.SYS_KEXEC_FILE_LOAD, [6]uintptr{none, none, 0, 0, none}, eperm, false},
		{"init_module", unix.SYS_INIT_MODULE, [6]uintptr{}, eperm, false},
		{"finit_module", unix.SYS_FINIT_MODULE, [6]uintptr{none}, eperm, false},
		{"delete_module", unix.SYS_DELETE_MODULE, [6]uintptr{path}, eperm, false},
		{"acct", unix.SYS_ACCT, [6]uintptr{path}, eperm, false},
		{"syslog", unix.SYS_SYSLOG, [6]uintptr{10}, eperm, false},
		{"settimeofday", unix.SYS_SETTIMEOFDAY, [6]uintptr{none}, eperm, false},
		{"clock_settime", unix.SYS_CLOCK_SETTIME, [6]uintptr{9999}, eperm, false},
		{"clock_adjtime", unix.SYS_CLOCK_ADJTIME, [6]uintptr{9999}, eperm, false},
		{"adjtimex", unix.SYS_ADJTIMEX, [6]uintptr{}, eperm, false},
		{"sethostname", unix.SYS_SETHOSTNAME, [6]uintptr{0, none}, eperm, false},
		{"setdomainname", unix.SYS_SETDOMAINNAME, [6]uintptr{0, none}, eperm, false},
		{"vhangup", unix.SYS_VHANGUP, [6]uintptr{}, eperm, false}, // in a session without a terminal
		{"iopl", unix.SYS_IOPL, [6]uintptr{99}, eperm, false},
		{"ioperm", unix.SYS_IOPERM, [6]uintptr{none, 1, 1}, eperm, false},
		{"lookup_dcookie", unix.SYS_LOOKUP_DCOOKIE, [6]uintptr{}, eperm, false},
	}
}

func socketProbes() []probe {
	sock := func(what string, family, kind, protocol uintptr, want syscall.Errno, maybe bool) probe {
		return probe{what, unix.SYS_SOCKET, [6]uintptr{family, kind, protocol}, want, maybe}
	}
	return []probe{
		sock("netlink", unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE, eafnosupport, false),
		sock("netlink, upper bit", upper|unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE, eafnosupport, false),
		sock("packet", unix.AF_PACKET, unix.SOCK_RAW, 0, eafnosupport, true),
		sock("alg", unix.AF_ALG, unix.SOCK_SEQPACKET, 0, eafnosupport, true),
		sock("vsock", unix.AF_VSOCK, unix.SOCK_STREAM, 0, eafnosupport, true),
		sock("vsock, upper bit", upper|unix.AF_VSOCK, unix.SOCK_STREAM, 0, eafnosupport, true),
		sock("xdp", unix.AF_XDP, unix.SOCK_RAW, 0, eafnosupport, true),
		sock("raw", unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_TCP, eperm, false),
		sock("raw IPv6", unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_TCP, eperm, false),
		sock("mptcp", unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP, eperm, false),
		{"pair of raw unix", unix.SYS_SOCKETPAIR, [6]uintptr{unix.AF_UNIX, unix.SOCK_RAW, 0, 0}, eperm, false},
		{"pair of netlink", unix.SYS_SOCKETPAIR, [6]uintptr{unix.AF_NETLINK, unix.SOCK_RAW, 0, 0}, eafnosupport, false},
		{"attach a program", unix.SYS_SETSOCKOPT, [6]uintptr{none, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER}, syscall.ENOPROTOOPT, false},
		{"kernel TLS", unix.SYS_SETSOCKOPT, [6]uintptr{none, unix.IPPROTO_TCP, unix.TCP_ULP}, syscall.ENOPROTOOPT, false},
	}
}

func argumentProbes() []probe {
	list := []probe{
		{"personality without randomization", unix.SYS_PERSONALITY, [6]uintptr{0x0040000}, eperm, false},
		{"prctl PR_SET_MM", unix.SYS_PRCTL, [6]uintptr{unix.PR_SET_MM, none, 0, 0, 1}, eperm, false},
		{"prctl PR_SET_SECUREBITS", unix.SYS_PRCTL, [6]uintptr{unix.PR_SET_SECUREBITS, 0}, eperm, false},
		{"prctl PR_SET_SPECULATION_CTRL", unix.SYS_PRCTL, [6]uintptr{unix.PR_SET_SPECULATION_CTRL, none}, eperm, false},
	}
	for what, command := range map[string]uintptr{"TIOCSTI": unix.TIOCSTI, "TIOCLINUX": unix.TIOCLINUX, "TIOCSETD": unix.TIOCSETD, "TIOCCONS": unix.TIOCCONS} {
		// Descriptor 0 is /dev/null.
		list = append(list,
			probe{what, unix.SYS_IOCTL, [6]uintptr{0, command, text(buffer[:])}, eperm, false},
			probe{what + ", upper bit", unix.SYS_IOCTL, [6]uintptr{0, upper | command, text(buffer[:])}, eperm, false})
	}
	return list
}

package main

import (
	"os"
	"os/exec"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	none  = ^uintptr(0) // a descriptor, id or flag that is none
	upper = 1 << 32     // a bit of a register that the kernel does not read
)

// mounts tries the mount API, old and new, on a mount point. chroot is last.
func mounts(args []string) {
	dir := args[0]
	report("mount tmpfs", unix.Mount("tmpfs", dir, "tmpfs", 0, ""))
	report("mount proc", unix.Mount("proc", dir, "proc", 0, ""))
	report("bind", unix.Mount(dir, dir, "", unix.MS_BIND, ""))
	report("remount rw", unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND, ""))
	report("make shared", unix.Mount("", dir, "", unix.MS_SHARED, ""))
	report("unmount", unix.Unmount(dir, unix.MNT_DETACH))
	report("mount_setattr", unix.MountSetattr(unix.AT_FDCWD, dir, 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}))
	_, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	report("open_tree", err)
	_, err = unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	report("fsopen", err)
	_, err = unix.Fspick(unix.AT_FDCWD, dir, unix.FSPICK_CLOEXEC)
	report("fspick", err)
	_, err = unix.Fsmount(-1, 0, 0)
	report("fsmount", err)
	report("fsconfig", unix.FsconfigCreate(-1))
	report("move_mount", unix.MoveMount(-1, "", -1, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH))
	report("pivot_root", unix.PivotRoot(dir, dir))
	report("chroot", unix.Chroot(dir))
}

var namespaceFlags = map[string]uintptr{
	"user": unix.CLONE_NEWUSER, "mnt": unix.CLONE_NEWNS, "pid": unix.CLONE_NEWPID, "net": unix.CLONE_NEWNET,
	"ipc": unix.CLONE_NEWIPC, "uts": unix.CLONE_NEWUTS, "cgroup": unix.CLONE_NEWCGROUP,
}

// namespaces tries to make and to enter namespaces of every kind.
func namespaces([]string) {
	for kind, flag := range namespaceFlags {
		self := exec.Command("/proc/self/exe", "nothing")
		self.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flag}
		report("clone "+kind, self.Run())
		self = exec.Command("/proc/self/exe", "nothing")
		self.SysProcAttr = &syscall.SysProcAttr{Unshareflags: flag}
		report("unshare "+kind, self.Run())
		report("clone3 "+kind, clone3(uint64(flag)))
	}
	for _, kind := range []string{"net", "ipc", "uts", "cgroup"} { // those that a thread may enter alone
		fd, err := unix.Open("/proc/self/ns/"+kind, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, 0)
		}
		report("setns "+kind, err)
	}
}

// clone3 makes a process that ends at once, and waits for it.
func clone3(flags uint64) error {
	args := [11]uint64{0: flags, 4: uint64(unix.SIGCHLD)}
	pid, _, errno := unix.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), 11*8, 0)
	if errno != 0 {
		return errno
	}
	if pid == 0 {
		unix.RawSyscall(unix.SYS_EXIT_GROUP, 0, 0, 0)
	}
	_, err := unix.Wait4(int(pid), nil, unix.WALL, nil)
	return err
}

// calls tries system calls of which no program in a sandbox has need, so that
// where they are not refused they do no harm.
func calls([]string) {
	var buffer [256]byte
	text := func(s string) uintptr { return uintptr(unsafe.Pointer(unsafe.StringData(s + "\x00"))) }
	into := uintptr(unsafe.Pointer(&buffer))
	cwd := unix.AT_FDCWD
	for _, c := range []struct {
		name string
		nr   uintptr
		args []uintptr
	}{
		{"io_uring_setup", unix.SYS_IO_URING_SETUP, []uintptr{1, into}},
		{"io_uring_enter", unix.SYS_IO_URING_ENTER, []uintptr{none}},
		{"io_uring_register", unix.SYS_IO_URING_REGISTER, []uintptr{none}},
		{"userfaultfd", unix.SYS_USERFAULTFD, []uintptr{unix.O_CLOEXEC}},
		{"keyctl", unix.SYS_KEYCTL, []uintptr{unix.KEYCTL_GET_KEYRING_ID, none - 2, 1}},
		{"add_key", unix.SYS_ADD_KEY, []uintptr{text("user"), text("creel"), text("x"), 1, none - 1}},
		{"request_key", unix.SYS_REQUEST_KEY, []uintptr{text("user"), text("creel-none"), 0, 0}},
		{"bpf", unix.SYS_BPF, []uintptr{none, into, 8}},
		{"perf_event_open", unix.SYS_PERF_EVENT_OPEN, []uintptr{0, 0, none, none, none}},
		{"ptrace", unix.SYS_PTRACE, []uintptr{unix.PTRACE_PEEKDATA, 0x7ffffff0}},
		{"process_vm_readv", unix.SYS_PROCESS_VM_READV, []uintptr{0x7ffffff0}},
		{"process_vm_writev", unix.SYS_PROCESS_VM_WRITEV, []uintptr{0x7ffffff0}},
		{"pidfd_getfd", unix.SYS_PIDFD_GETFD, []uintptr{none}},
		{"kcmp", unix.SYS_KCMP, []uintptr{0x7ffffff0, 0x7ffffff0}},
		{"name_to_handle_at", unix.SYS_NAME_TO_HANDLE_AT, []uintptr{uintptr(cwd), text("."), into, into + 128, 0}},
		{"open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT, []uintptr{none}},
		{"fanotify_init", unix.SYS_FANOTIFY_INIT, []uintptr{none}},
		{"personality", unix.SYS_PERSONALITY, []uintptr{0x0040000}},
		{"modify_ldt", unix.SYS_MODIFY_LDT, []uintptr{0, into, 1}},
		{"mq_open", unix.SYS_MQ_OPEN, []uintptr{text("creel-none"), 0}},
		{"swapon", unix.SYS_SWAPON, []uintptr{text("/creel-none"), 0}},
		{"reboot", unix.SYS_REBOOT, []uintptr{1, 2, 3}},
		{"kexec_load", unix.SYS_KEXEC_LOAD, []uintptr{0, none, 0, 0xffff}},
		{"init_module", unix.SYS_INIT_MODULE, []uintptr{0, 0, 0}},
		{"delete_module", unix.SYS_DELETE_MODULE, []uintptr{text("creel_none"), 0}},
		{"syslog", unix.SYS_SYSLOG, []uintptr{10}},
		{"settimeofday", unix.SYS_SETTIMEOFDAY, []uintptr{none, 0}},
		{"sethostname", unix.SYS_SETHOSTNAME, []uintptr{into, none}},
		{"iopl", unix.SYS_IOPL, []uintptr{99}},
		{"quotactl", unix.SYS_QUOTACTL, []uintptr{none, text("/creel-none")}},
		{"vmsplice", unix.SYS_VMSPLICE, []uintptr{none}},
	} {
		_, err := call(c.nr, c.args...)
		report(c.name, err)
	}
}

// sockets tries families and types of sockets.
func sockets([]string) {
	for name, s := range map[string][3]uintptr{
		"unix": {unix.AF_UNIX, unix.SOCK_STREAM}, "tcp": {unix.AF_INET, unix.SOCK_STREAM}, "udp": {unix.AF_INET, unix.SOCK_DGRAM},
		"tcp6": {unix.AF_INET6, unix.SOCK_STREAM}, "netlink": {unix.AF_NETLINK, unix.SOCK_RAW},
		"netlink, upper bit": {upper | unix.AF_NETLINK, unix.SOCK_RAW}, "uevent": {unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_KOBJECT_UEVENT},
		"vsock": {unix.AF_VSOCK, unix.SOCK_STREAM}, "vsock, upper bit": {upper | unix.AF_VSOCK, unix.SOCK_STREAM},
		"alg": {unix.AF_ALG, unix.SOCK_SEQPACKET}, "packet": {unix.AF_PACKET, unix.SOCK_RAW}, "xdp": {unix.AF_XDP, unix.SOCK_RAW},
		"raw": {unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP}, "raw6": {unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_ICMPV6},
		"mptcp": {unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP}, "sctp": {unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP},
		"bluetooth": {unix.AF_BLUETOOTH, unix.SOCK_RAW}, "can": {unix.AF_CAN, unix.SOCK_RAW, 1},
	} {
		fd, err := call(unix.SYS_SOCKET, s[:]...)
		if err == nil {
			unix.Close(int(fd))
		}
		report(name, err)
	}
}

// int80 makes a system call by the 32-bit gate of the processor.
func int80(nr, a, b, c uint32) uint32

// abi makes one harmless call by an ABI; a filter may end the process there.
func abi(args []string) {
	switch args[0] {
	case "native":
		_, err := call(unix.SYS_GETPID)
		report("getpid", err)
	case "x32":
		_, err := call(0x40000000 | unix.SYS_GETPID)
		report("getpid", err)
	case "int80":
		if int(int80(20, 0, 0, 0)) == os.Getpid() {
			report("getpid", nil)
		}
	case "int80 vsock":
		report("socket", socketcall(unix.AF_VSOCK))
	case "int80 socket": // socket of i386, past a filter that only knows 64-bit calls
		got := int32(int80(359, unix.AF_NETLINK, unix.SOCK_RAW, 0))
		if got < 0 {
			report("socket", syscall.Errno(-got))
		} else {
			report("socket", nil)
		}
	}
}

// terminal tries to type on, or to rule, the terminal on standard input.
func terminal([]string) {
	_, err := unix.IoctlGetWinsize(0, unix.TIOCGWINSZ)
	report("window size", err)
	x := [2]byte{'\n'}
	for name, command := range map[string]uintptr{
		"TIOCSTI": unix.TIOCSTI, "TIOCSTI, upper bits": 0xdead<<32 | unix.TIOCSTI,
		"TIOCLINUX": unix.TIOCLINUX, "TIOCLINUX, upper bits": 0xdead<<32 | unix.TIOCLINUX,
		"TIOCSETD": unix.TIOCSETD, "TIOCCONS": unix.TIOCCONS + upper,
	} {
		arg := uintptr(unsafe.Pointer(&x))
		if command&0xffffffff == unix.TIOCCONS {
			_, err = call(unix.SYS_IOCTL, none, command) // no descriptor: it would move the console
		} else if command&0xffffffff == unix.TIOCSETD {
			_, err = call(unix.SYS_IOCTL, 0, command, 0) // no discipline: EFAULT
		} else {
			_, err = call(unix.SYS_IOCTL, 0, command, arg)
		}
		report(name, err)
	}
}

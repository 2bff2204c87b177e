package seccomp

import (
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDefaultProfileAllowsPlainSocketsOnly(t *testing.T) {
	var list []verdict
	for _, family := range []uint64{unix.AF_INET, unix.AF_INET6} {
		for _, flags := range []uint64{0, unix.SOCK_CLOEXEC, unix.SOCK_CLOEXEC | unix.SOCK_NONBLOCK} {
			list = append(list,
				verdict{"stream", unix.SYS_SOCKET, [6]uint64{family, unix.SOCK_STREAM | flags, 0}, Allow},
				verdict{"TCP", unix.SYS_SOCKET, [6]uint64{family, unix.SOCK_STREAM | flags, unix.IPPROTO_TCP}, Allow},
				verdict{"datagram", unix.SYS_SOCKET, [6]uint64{family, unix.SOCK_DGRAM | flags, 0}, Allow},
				verdict{"UDP", unix.SYS_SOCKET, [6]uint64{family, unix.SOCK_DGRAM | flags, unix.IPPROTO_UDP}, Allow},
				verdict{"raw", unix.SYS_SOCKET, [6]uint64{family, unix.SOCK_RAW | flags, unix.IPPROTO_TCP}, Errno(eperm)},
				verdict{"packet", unix.SYS_SOCKET, [6]uint64{family, unix.SOCK_PACKET | flags, 0}, Errno(eperm)},
				verdict{"ping", unix.SYS_SOCKET, [6]uint64{family, unix.SOCK_DGRAM | flags, unix.IPPROTO_ICMP}, Errno(eperm)},
				verdict{"SCTP", unix.SYS_SOCKET, [6]uint64{family, unix.SOCK_STREAM | flags, unix.IPPROTO_SCTP}, Errno(eperm)},
				verdict{"MPTCP", unix.SYS_SOCKET, [6]uint64{family, unix.SOCK_STREAM | flags, unix.IPPROTO_MPTCP}, Errno(eperm)},
				verdict{"DCCP", unix.SYS_SOCKET, [6]uint64{family, unix.SOCK_DCCP | flags, unix.IPPROTO_DCCP}, Errno(eperm)})
		}
	}
	for _, call := range []int{unix.SYS_SOCKET, unix.SYS_SOCKETPAIR} {
		for _, kind := range []uint64{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_SEQPACKET} {
			list = append(list, verdict{"unix", call, [6]uint64{unix.AF_UNIX, kind | unix.SOCK_CLOEXEC}, Allow})
		}
		list = append(list,
			verdict{"unix raw", call, [6]uint64{unix.AF_UNIX, unix.SOCK_RAW}, Errno(eperm)},
			verdict{"vsock", call, [6]uint64{unix.AF_VSOCK, unix.SOCK_STREAM}, Errno(eafnosupport)})
	}
	list = append(list, verdict{"pair of TIPC", unix.SYS_SOCKETPAIR, [6]uint64{unix.AF_TIPC, unix.SOCK_STREAM}, Errno(eafnosupport)})
	check(t, defaultProfile(t), list)
}

func TestDefaultProfileAttachesNoProgramToASocket(t *testing.T) {
	refused := Errno(syscall.ENOPROTOOPT)
	var list []verdict
	for _, option := range []uint64{unix.SO_ATTACH_FILTER, unix.SO_ATTACH_BPF, unix.SO_ATTACH_REUSEPORT_CBPF, unix.SO_ATTACH_REUSEPORT_EBPF} {
		list = append(list,
			verdict{"attach", unix.SYS_SETSOCKOPT, [6]uint64{3, unix.SOL_SOCKET, option}, refused},
			verdict{"attach, upper bits", unix.SYS_SETSOCKOPT, [6]uint64{3, upper | unix.SOL_SOCKET, upper | option}, refused},
			verdict{"same number, other level", unix.SYS_SETSOCKOPT, [6]uint64{3, unix.IPPROTO_IPV6, option}, Allow})
	}
	list = append(list,
		verdict{"TCP_ULP", unix.SYS_SETSOCKOPT, [6]uint64{3, unix.IPPROTO_TCP, unix.TCP_ULP}, refused},
		verdict{"TCP_NODELAY", unix.SYS_SETSOCKOPT, [6]uint64{3, unix.IPPROTO_TCP, unix.TCP_NODELAY}, Allow},
		verdict{"SO_REUSEADDR", unix.SYS_SETSOCKOPT, [6]uint64{3, unix.SOL_SOCKET, unix.SO_REUSEADDR}, Allow})
	check(t, defaultProfile(t), list)
}

func TestDefaultProfileMakesNoDeviceNode(t *testing.T) {
	var list []verdict
	for kind, want := range map[uint64]Action{
		0: Allow, unix.S_IFREG: Allow, unix.S_IFIFO: Allow, unix.S_IFSOCK: Allow,
		unix.S_IFCHR: Errno(eperm), unix.S_IFBLK: Errno(eperm), unix.S_IFDIR: Errno(eperm), unix.S_IFLNK: Errno(eperm),
	} {
		for _, high := range []uint64{0, 1 << 16, upper} {
			list = append(list,
				verdict{"mknod", unix.SYS_MKNOD, [6]uint64{0, high | kind | 0o666}, want},
				verdict{"mknodat", unix.SYS_MKNODAT, [6]uint64{0, 0, high | kind | 0o666}, want})
		}
	}
	check(t, defaultProfile(t), list)
}

func TestDefaultProfileKeepsThePersonality(t *testing.T) {
	check(t, defaultProfile(t), []verdict{
		{"set plain", unix.SYS_PERSONALITY, [6]uint64{0}, Allow},
		{"ask", unix.SYS_PERSONALITY, [6]uint64{0xffffffff}, Allow},
		{"ask, sign extended", unix.SYS_PERSONALITY, [6]uint64{^uint64(0)}, Allow},
		{"ADDR_NO_RANDOMIZE", unix.SYS_PERSONALITY, [6]uint64{0x0040000}, Errno(eperm)},
		{"READ_IMPLIES_EXEC", unix.SYS_PERSONALITY, [6]uint64{0x0400000}, Errno(eperm)},
		{"upper bit, then ADDR_NO_RANDOMIZE", unix.SYS_PERSONALITY, [6]uint64{upper | 0x0040000}, Errno(eperm)},
	})
}

func TestDefaultProfileReachesOnlyOwnLimits(t *testing.T) {
	check(t, defaultProfile(t), []verdict{
		{"own", unix.SYS_PRLIMIT64, [6]uint64{0, unix.RLIMIT_NOFILE}, Allow},
		{"init's", unix.SYS_PRLIMIT64, [6]uint64{1, unix.RLIMIT_NOFILE}, Errno(eperm)},
		{"init's, upper bit", unix.SYS_PRLIMIT64, [6]uint64{upper | 1, unix.RLIMIT_NOFILE}, Errno(eperm)},
	})
}

func TestDefaultProfileLetsFiltersTightenOnly(t *testing.T) {
	check(t, defaultProfile(t), []verdict{
		{"add filter", unix.SYS_SECCOMP, [6]uint64{unix.SECCOMP_SET_MODE_FILTER, 0}, Allow},
		{"add filter to all threads", unix.SYS_SECCOMP, [6]uint64{unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC}, Allow},
		{"listener", unix.SYS_SECCOMP, [6]uint64{unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER}, Errno(eperm)},
		{"listener among flags", unix.SYS_SECCOMP, [6]uint64{unix.SECCOMP_SET_MODE_FILTER, upper | 0xff}, Errno(eperm)},
		{"listener, operation with upper bit", unix.SYS_SECCOMP, [6]uint64{upper | unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER}, Errno(eperm)},
		{"sizes for a listener", unix.SYS_SECCOMP, [6]uint64{unix.SECCOMP_GET_NOTIF_SIZES}, Errno(eperm)},
		{"prctl filter", unix.SYS_PRCTL, [6]uint64{unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER}, Allow},
	})
}

func TestDefaultProfileAllowsListedPrctlsOnly(t *testing.T) {
	var list []verdict
	for _, option := range []uint64{unix.PR_SET_NAME, unix.PR_GET_NAME, unix.PR_SET_PDEATHSIG, unix.PR_SET_NO_NEW_PRIVS, unix.PR_CAPBSET_READ, unix.PR_SET_VMA, unix.PR_SET_DUMPABLE} {
		list = append(list, verdict{"harmless", unix.SYS_PRCTL, [6]uint64{option}, Allow})
	}
	for _, option := range []uint64{unix.PR_SET_MM, unix.PR_SET_PTRACER, unix.PR_SET_SECUREBITS, unix.PR_CAPBSET_DROP, unix.PR_SET_SPECULATION_CTRL, unix.PR_SET_IO_FLUSHER, unix.PR_MCE_KILL, unix.PR_SET_KEEPCAPS, unix.PR_SET_SYSCALL_USER_DISPATCH, unix.PR_SCHED_CORE, upper | unix.PR_SET_MM} {
		list = append(list, verdict{"dangerous", unix.SYS_PRCTL, [6]uint64{option}, Errno(eperm)})
	}
	check(t, defaultProfile(t), list)
}

// creel-init's child is a Go program that installs the filter on its locked
// thread and calls execve; the runtime's other threads run without it.
func TestDefaultProfileLetsGoReachExecve(t *testing.T) {
	check(t, defaultProfile(t), words(t, Allow, `
		execve execveat exit_group exit close close_range dup3 fcntl read write
		futex rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack mmap munmap madvise
		nanosleep sched_yield getpid gettid tgkill epoll_pwait chdir fchdir setrlimit prlimit64
		set_tid_address set_robust_list rseq arch_prctl`))
}

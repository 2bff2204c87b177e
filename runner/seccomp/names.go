package seccomp

import (
	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"
)

// elsewhere stands for the number of a call that this architecture lacks.
const elsewhere = -1

// newer holds calls that libseccomp 2.5 has no names for. From number 424 on
// they are the same on every architecture. What libseccomp knows wins.
var newer = map[string]int{
	"riscv_hwprobe":     elsewhere,
	"uretprobe":         335, // of x86; no other architecture uses the number
	"cachestat":         unix.SYS_CACHESTAT,
	"fchmodat2":         unix.SYS_FCHMODAT2,
	"map_shadow_stack":  unix.SYS_MAP_SHADOW_STACK,
	"futex_wake":        unix.SYS_FUTEX_WAKE,
	"futex_wait":        unix.SYS_FUTEX_WAIT,
	"futex_requeue":     unix.SYS_FUTEX_REQUEUE,
	"statmount":         unix.SYS_STATMOUNT,
	"listmount":         unix.SYS_LISTMOUNT,
	"lsm_get_self_attr": unix.SYS_LSM_GET_SELF_ATTR,
	"lsm_set_self_attr": unix.SYS_LSM_SET_SELF_ATTR,
	"lsm_list_modules":  unix.SYS_LSM_LIST_MODULES,
	"mseal":             unix.SYS_MSEAL,
	"setxattrat":        unix.SYS_SETXATTRAT,
	"getxattrat":        unix.SYS_GETXATTRAT,
	"listxattrat":       unix.SYS_LISTXATTRAT,
	"removexattrat":     unix.SYS_REMOVEXATTRAT,
	"open_tree_attr":    unix.SYS_OPEN_TREE_ATTR,
	"file_getattr":      unix.SYS_FILE_GETATTR,
	"file_setattr":      unix.SYS_FILE_SETATTR,
	"listns":            unix.SYS_LISTNS,
}

// resolve finds the number of a call on the native ABI. known is false for a
// name that no architecture has. A call that only other architectures have
// is known and not native: no rule about it can matter.
func resolve(name string) (number int, native, known bool) {
	resolved, err := libseccomp.GetSyscallFromName(name)
	number = int(resolved)
	if err == nil && number >= 0 {
		return number, true, true
	}
	if number, known = newer[name]; known {
		return number, number != elsewhere, true
	}
	// libseccomp gives names of other architectures negative numbers.
	return 0, false, err == nil
}

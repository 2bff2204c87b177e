package main

import (
	"bytes"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/initproto"
)

// defaultPath is searched when the job's environment has no PATH.
const defaultPath = "/usr/local/bin:/usr/bin:/bin"

// image is everything execve(2) and seccomp(2) take, ready in memory.
type image struct {
	paths      []*byte // to be tried in this order
	argv, env  []*byte // each ends with nil
	filter     []unix.SockFilter
	filterProg unix.SockFprog
}

func newImage(job initproto.Job) (*image, error) {
	i := &image{argv: pointers(job.Argv), env: pointers(job.Env)}
	for _, path := range candidates(job) {
		i.paths = append(i.paths, pointer(path))
	}
	if len(i.paths) == 0 {
		return nil, unix.EINVAL
	}
	if n := len(job.Filter) / initproto.FilterInstruction; n > 0 {
		// Copied, because the kernel's structure is aligned and the frame is not.
		i.filter = make([]unix.SockFilter, n)
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&i.filter[0])), len(job.Filter)), job.Filter)
		i.filterProg = unix.SockFprog{Len: uint16(n), Filter: &i.filter[0]}
	}
	return i, nil
}

// candidates are the paths to try, by the rules of execvp(3): a name with a
// slash as it is, any other in each directory of the job's own PATH, where an
// empty one means the working directory.
func candidates(job initproto.Job) [][]byte {
	name := job.Argv[0]
	if len(name) == 0 || bytes.IndexByte(name, '/') >= 0 {
		return [][]byte{name}
	}
	path := []byte(defaultPath)
	for _, kv := range job.Env {
		if value, ok := bytes.CutPrefix(kv, []byte("PATH=")); ok {
			path = value
			break
		}
	}
	var paths [][]byte
	for _, dir := range bytes.Split(path, []byte{':'}) {
		if len(dir) > 0 {
			dir = append(bytes.Clone(dir), '/')
		}
		paths = append(paths, append(dir, name...))
	}
	return paths
}

// pointer copies s with the NUL that the kernel wants; the protocol has
// refused any other NUL.
func pointer(s []byte) *byte {
	c := make([]byte, len(s)+1)
	copy(c, s)
	return &c[0]
}

func pointers(list [][]byte) []*byte {
	out := make([]*byte, 0, len(list)+1)
	for _, s := range list {
		out = append(out, pointer(s))
	}
	return append(out, nil)
}

// execute installs the filter and becomes the command. Only this thread gets
// the filter (no SECCOMP_FILTER_FLAG_TSYNC), because only it survives execve;
// no_new_privs, which seccomp(2) asks for, was set by the engine. Raw system
// calls, so that the runtime makes none of its own in between.
func (i *image) execute() error {
	var none uint64
	unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, unix.SIG_SETMASK,
		uintptr(unsafe.Pointer(&none)), 0, unsafe.Sizeof(none), 0, 0)
	if i.filter != nil {
		_, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0,
			uintptr(unsafe.Pointer(&i.filterProg)))
		if errno != 0 {
			return fail(initproto.StepFilter, errno)
		}
	}
	last := unix.ENOENT
	for _, path := range i.paths {
		_, _, errno := unix.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(path)),
			uintptr(unsafe.Pointer(&i.argv[0])), uintptr(unsafe.Pointer(&i.env[0])))
		switch errno {
		case unix.ENOENT, unix.ENOTDIR:
		case unix.EACCES: // execvp(3): go on, but remember that there was one
			last = errno
		default:
			return fail(initproto.StepExec, errno)
		}
	}
	return fail(initproto.StepExec, last)
}

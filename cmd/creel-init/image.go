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

	copies [][]byte // of the job's strings
}

func newImage(job initproto.Job) image {
	var i image
	i.argv, i.env = i.pointers(job.Argv), i.pointers(job.Env)
	i.addPaths(job)
	// Copied, because the kernel's structure is aligned and the frame is not. The
	// protocol has refused a job without.
	i.filter = make([]unix.SockFilter, len(job.Filter)/initproto.FilterInstruction)
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&i.filter[0])), len(job.Filter)), job.Filter)
	i.filterProg = unix.SockFprog{Len: uint16(len(i.filter)), Filter: &i.filter[0]}
	return i
}

// addPaths adds the paths to try, by the rules of execvp(3): a name with a
// slash as it is, any other in each directory of the job's own PATH, where an
// empty one means the working directory.
func (i *image) addPaths(job initproto.Job) {
	name := job.Argv[0]
	if len(name) == 0 || bytes.IndexByte(name, '/') >= 0 {
		i.paths = append(i.paths, i.pointer(name))
		return
	}
	path := []byte(defaultPath)
	for _, kv := range job.Env {
		if value, ok := bytes.CutPrefix(kv, []byte("PATH=")); ok {
			path = value
			break
		}
	}
	for _, dir := range bytes.Split(path, []byte{':'}) {
		if len(dir) == 0 {
			i.paths = append(i.paths, i.pointer(name))
		} else {
			i.paths = append(i.paths, i.pointer(dir, []byte{'/'}, name))
		}
	}
}

// pointer copies the parts of a string with the NUL that the kernel wants; the
// protocol has refused any other NUL.
func (i *image) pointer(parts ...[]byte) *byte {
	size := 1
	for _, part := range parts {
		size += len(part)
	}
	c := make([]byte, 0, size)
	for _, part := range parts {
		c = append(c, part...)
	}
	c = append(c, 0)
	i.copies = append(i.copies, c)
	return &c[0]
}

func (i *image) pointers(list [][]byte) []*byte {
	out := make([]*byte, 0, len(list)+1)
	for _, s := range list {
		out = append(out, i.pointer(s))
	}
	return append(out, nil)
}

// forget clears the job's strings, secrets among them.
func (i *image) forget() {
	for _, c := range i.copies {
		clear(c)
	}
}

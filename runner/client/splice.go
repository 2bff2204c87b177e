package client

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// spliceSize is the most one splice(2) moves, and the size a pipe grows to
// once it was seen full: as large as an unprivileged process may make it
// (/proc/sys/fs/pipe-max-size).
const spliceSize = 1 << 20

// fullWait is how long, in milliseconds, one wait for room lasts. Between
// two of them it shows whether the run has ended.
const fullWait = 50

// The buffer of an output that cannot be spliced, in bytes: a small one, and
// once output has filled it one as large as a pipe is made. Once that is
// full, too, the pipe grows to copyPipe, so that the command and the one who
// reads need not take turns; larger ones were seen to be slower, since less
// of what is copied is still in a processor's cache.
const (
	firstSize = 4 << 10
	copySize  = 64 << 10
	copyPipe  = 256 << 10
)

// drain moves output to its end: nil at the end, or why it could not be
// written.
func drain(to io.Writer, from *pipeEnd) error {
	if to == nil {
		to = io.Discard
	}
	if file, ok := to.(*os.File); ok {
		supported, err := splice(file, from)
		if supported || err != nil {
			return err
		}
	}
	return move(to, from)
}

// move copies output to what is no file.
func move(to io.Writer, from *pipeEnd) error {
	buffer, grown := make([]byte, firstSize), false
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if written, err := to.Write(buffer[:n]); err != nil {
				return err
			} else if written < n {
				return io.ErrShortWrite
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case n == len(buffer) && n < copySize:
			buffer = make([]byte, copySize)
		case n == copySize && !grown:
			grown = true
			if raw, err := from.SyscallConn(); err == nil {
				raw.Control(func(fd uintptr) { grow(fd, copyPipe) })
			}
		}
	}
}

// grow enlarges the pipe of a command that fills it, so that fewer switches
// move more. A refusal (pipe-user-pages-soft, pipe(7)) changes nothing.
func grow(pipe uintptr, size int) { unix.FcntlInt(pipe, unix.F_SETPIPE_SZ, size) }

// splice moves pages from the pipe to a file without copying them. It
// reports false when the file cannot take them so (a terminal, O_APPEND);
// nothing has been moved then.
func splice(to *os.File, from *pipeEnd) (supported bool, err error) {
	target, err := to.SyscallConn()
	if err != nil {
		return false, err
	}
	source, err := from.SyscallConn()
	if err != nil {
		return false, err
	}
	s := &splicer{}
	for {
		controlErr := target.Control(func(out uintptr) {
			err = source.Read(func(in uintptr) bool { return s.move(int(in), int(out)) })
			if s.full && err == nil {
				// Outside of Read, which would keep the pipe from being closed,
				// and not for long: this keeps the target from being closed.
				unix.Poll([]unix.PollFd{{Fd: int32(out), Events: unix.POLLOUT}}, fullWait)
			}
		})
		switch {
		case controlErr != nil:
			return true, controlErr
		case err != nil:
			return true, err
		case s.err == unix.EINVAL:
			return s.moved, errIfMoved(s.moved)
		case s.err != nil:
			return true, os.NewSyscallError("splice", s.err)
		case s.ended:
			return true, nil
		}
	}
}

// errIfMoved is the error of a target that stops taking spliced pages midway.
func errIfMoved(moved bool) error {
	if moved {
		return os.NewSyscallError("splice", unix.EINVAL)
	}
	return nil
}

type splicer struct {
	moved, ended, grown bool
	full                bool // there is input or its end, and no room
	err                 error
}

// move does one splice(2), and reports false when it must wait for input.
func (s *splicer) move(in, out int) bool {
	n, err := unix.Splice(in, nil, out, nil, spliceSize, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
	s.err, s.full = nil, false
	switch {
	case err == unix.EAGAIN:
		// Either side can be what is not ready. An end counts as input: where
		// there is no room, splice does not tell of it, nor epoll(7) again.
		input := []unix.PollFd{{Fd: int32(in), Events: unix.POLLIN}}
		n, err := unix.Poll(input, 0)
		s.full = n > 0 || err != nil
		return s.full
	case err == unix.EINTR:
	case err != nil:
		s.err = err
	case n == 0:
		s.ended = true
	default:
		s.moved = true
		if !s.grown && n >= copySize {
			s.grown = true
			grow(uintptr(in), spliceSize)
		}
	}
	return true
}

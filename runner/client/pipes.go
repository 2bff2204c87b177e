package client

import (
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// pipes are the three that a command runs on.
type pipes struct {
	stdin          *os.File // written here; nil when there is nothing to write
	stdout, stderr *pipeEnd // read here; stderr is nil when one pipe serves both
	theirs         [3]int   // the command's ends
}

// pipeEnd is the end of a pipe that output is read from.
type pipeEnd struct{ *os.File }

// newPipes makes three pipes, or two when stdout and stderr are one. Without
// input the first is at its end.
func newPipes(input, merged bool) (*pipes, error) {
	p := &pipes{theirs: [3]int{-1, -1, -1}}
	err := p.addInput(input)
	if err == nil {
		err = p.addOutput(&p.stdout, 1)
	}
	if err == nil && merged {
		p.theirs[2], err = unix.FcntlInt(uintptr(p.theirs[1]), unix.F_DUPFD_CLOEXEC, 0)
	} else if err == nil {
		err = p.addOutput(&p.stderr, 2)
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *pipes) addInput(wanted bool) error {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	p.theirs[0] = fds[0]
	if !wanted {
		return unix.Close(fds[1])
	}
	end, err := ownEnd(fds[1], "stdin")
	p.stdin = end
	return err
}

func (p *pipes) addOutput(end **pipeEnd, index int) error {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return err
	}
	p.theirs[index] = fds[1]
	file, err := ownEnd(fds[0], "output")
	if err == nil {
		*end = &pipeEnd{file}
	}
	return err
}

// ownEnd makes our end of a new pipe, which has no other flag, non-blocking:
// that lets a deadline end a wait on it. Theirs must block: a command expects
// that of its stdio.
func ownEnd(fd int, name string) (*os.File, error) {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFL, unix.O_NONBLOCK); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (p *pipes) closeTheirs() {
	for i, fd := range p.theirs {
		if fd >= 0 {
			unix.Close(fd)
		}
		p.theirs[i] = -1
	}
}

func (p *pipes) close() {
	p.closeTheirs()
	if p.stdin != nil {
		p.stdin.Close()
	}
	for _, end := range []*pipeEnd{p.stdout, p.stderr} {
		if end != nil {
			end.Close()
		}
	}
}

// expire ends the reading of output at t.
func (p *pipes) expire(t time.Time) {
	for _, end := range []*pipeEnd{p.stdout, p.stderr} {
		if end != nil {
			end.SetReadDeadline(t)
		}
	}
}

// feed copies stdin to the command and closes its pipe. A command that no
// longer reads (EPIPE) or has ended (ErrClosed) is no error.
func feed(to *os.File, from io.Reader) error {
	defer to.Close()
	in := &reader{from: from}
	_, err := io.Copy(struct{ io.Writer }{to}, in)
	if in.err != nil && in.err != io.EOF {
		return &InputError{in.err}
	}
	if err != nil && !errors.Is(err, unix.EPIPE) && !errors.Is(err, os.ErrClosed) {
		return &InputError{err}
	}
	return nil
}

// reader remembers an error of the reading side, which io.Copy mixes with
// those of the writing side.
type reader struct {
	from io.Reader
	err  error
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.err = err
	return n, err
}

// InputError says that stdin could not be read, so that the command would
// have mistaken a part of it for the whole.
type InputError struct{ Err error }

func (e *InputError) Error() string { return "read stdin: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *InputError) Unwrap() error { return e.Err }

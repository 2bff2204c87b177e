package supervisor

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// cut ends the streams of a command that has ended, after what it had written
// by then, though what it left running may hold them: that gets EPIPE, as a
// process does whose terminal was closed.
func (o *output) cut() {
	o.isCut.Store(true) // before a reader is woken, and seen by one that is about to wait
	for _, from := range o.sources {
		_ = from.SetReadDeadline(time.Unix(1, 0)) // fails for one that has ended already
	}
}

// cutReader reads a pipe to its end, or, once the output is cut, what is in it by
// then and no more: a writer that goes on keeps nobody.
type cutReader struct {
	file   *os.File
	output *output
	cut    bool
	left   int // bytes, once it is cut
}

func (r *cutReader) Read(p []byte) (int, error) {
	if !r.output.isCut.Load() {
		n, err := r.file.Read(p)
		// A deadline may be another's, who waits for the stream to be still.
		if !errors.Is(err, os.ErrDeadlineExceeded) || !r.output.isCut.Load() {
			return n, err
		}
	}
	if !r.cut {
		if err := r.measure(); err != nil {
			return 0, err
		}
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.file.Read(p[:min(len(p), r.left)])
	r.left -= n
	return n, err
}

// measure asks what is in the pipe (FIONREAD, which is TIOCINQ: ioctl_tty(2)), of which nobody else
// reads.
func (r *cutReader) measure() error {
	r.cut = true
	raw, err := r.file.SyscallConn()
	if err != nil {
		return fmt.Errorf("use pipe: %w", err)
	}
	controlErr := raw.Control(func(fd uintptr) { r.left, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	if err := errors.Join(controlErr, err); err != nil {
		return fmt.Errorf("measure pipe: %w", err)
	}
	return r.file.SetReadDeadline(time.Time{})
}

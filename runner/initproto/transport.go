package initproto

import (
	"syscall"
	"time"
)

// transport moves bytes and control messages once, without interpreting them.
type transport interface {
	send(p, oob []byte) (int, error)
	receive(p, oob []byte) (n, oobn, flags int, err error)
}

// Descriptors that arrive must never be inherited by a process that another
// thread is just starting; and an other end that is gone must be an error,
// not a SIGPIPE.
const (
	receiveFlags = syscall.MSG_CMSG_CLOEXEC
	sendFlags    = syscall.MSG_NOSIGNAL
)

// blocking is a transport for the init: a descriptor and the thread that
// waits on it.
type blocking int

func (fd blocking) send(p, oob []byte) (int, error) {
	for {
		n, err := syscall.SendmsgN(int(fd), p, oob, nil, sendFlags)
		if err != syscall.EINTR {
			return n, err
		}
	}
}

func (fd blocking) receive(p, oob []byte) (int, int, int, error) {
	for {
		n, oobn, flags, _, err := syscall.Recvmsg(int(fd), p, oob, receiveFlags)
		if err != syscall.EINTR {
			return n, oobn, flags, err
		}
	}
}

// Socket is what the supervisor's end needs of a *net.UnixConn, or of an
// *os.File on a non-blocking socket: the runtime's poller, so that waiting for
// hundreds of sandboxes holds no threads.
type Socket interface {
	SyscallConn() (syscall.RawConn, error)
	SetDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	Close() error
}

// polled is a transport for the supervisor.
type polled struct{ raw syscall.RawConn }

func (t polled) send(p, oob []byte) (n int, err error) {
	if werr := t.raw.Write(func(fd uintptr) bool {
		n, err = blocking(fd).send(p, oob)
		return err != syscall.EAGAIN
	}); werr != nil {
		return 0, werr
	}
	return n, err
}

func (t polled) receive(p, oob []byte) (n, oobn, flags int, err error) {
	if rerr := t.raw.Read(func(fd uintptr) bool {
		n, oobn, flags, err = blocking(fd).receive(p, oob)
		return err != syscall.EAGAIN
	}); rerr != nil {
		return 0, 0, 0, rerr
	}
	return n, oobn, flags, err
}

package api

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"time"
)

// maxRights is how many descriptors one message can bring. Room for more is
// never offered, so the kernel drops a surplus itself and says so with
// MSG_CTRUNC (unix(7)).
const maxRights = 3

// ErrDescriptors says that a message came with descriptors it should not
// have, or without those it should. They have been closed.
var ErrDescriptors = errors.New("unexpected descriptors")

func rights(descriptors []int) []byte {
	if len(descriptors) == 0 {
		return nil
	}
	return syscall.UnixRights(descriptors...)
}

// first reads a message's first byte and the descriptors on it.
func (c *Conn) first(p []byte, want []int) ([]*os.File, error) {
	oob := make([]byte, syscall.CmsgSpace(maxRights*4))
	_, oobn, err := c.read(p, oob)
	files, parseErr := receivedFiles(oob[:oobn])
	if err == nil {
		err = parseErr
	}
	if err == nil && len(files) != 0 && !slices.Contains(want, len(files)) {
		err = fmt.Errorf("receive message: %w: %d came", ErrDescriptors, len(files))
	}
	if err != nil {
		closeAll(files)
		return nil, err
	}
	return files, nil
}

// receivedFiles owns every descriptor of a control message before anything
// can fail, so that none leaks.
func receivedFiles(oob []byte) ([]*os.File, error) {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("parse control message: %w", err)
	}
	var files []*os.File
	for i := range messages {
		// No socket of ours asks for another kind than SCM_RIGHTS.
		descriptors, kindErr := syscall.ParseUnixRights(&messages[i])
		if kindErr != nil {
			err = fmt.Errorf("parse control message: %w", kindErr)
		}
		for _, fd := range descriptors {
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, err
}

func closeAll(files []*os.File) {
	for _, file := range files {
		file.Close()
	}
}

// read is recvmsg(2). Without room in oob, descriptors that come are closed
// by the kernel, and the message is refused for them here.
func (c *Conn) read(p, oob []byte) (n, oobn int, err error) {
	var flags int
	var timeErr error
	waitErr := c.raw.Read(func(fd uintptr) bool {
		err = syscall.EINTR
		for err == syscall.EINTR {
			n, oobn, flags, _, err = syscall.Recvmsg(int(fd), p, oob, syscall.MSG_CMSG_CLOEXEC)
		}
		if err != syscall.EAGAIN {
			return true
		}
		timeErr = c.beginWait()
		return timeErr != nil
	})
	switch {
	case waitErr != nil:
		return 0, 0, fmt.Errorf("receive message: %w", waitErr)
	case timeErr != nil:
		return 0, 0, fmt.Errorf("set deadline: %w", timeErr)
	case err != nil:
		return 0, 0, fmt.Errorf("receive message: %w", err)
	case flags&syscall.MSG_CTRUNC != 0:
		return n, oobn, fmt.Errorf("receive message: %w: more than belong there", ErrDescriptors)
	case n == 0:
		return 0, oobn, io.EOF
	}
	return n, oobn, nil
}

// write is sendmsg(2) until all is sent; the kernel puts descriptors on the
// first byte of the first call.
func (c *Conn) write(frame, oob []byte) error {
	timed := false
	for len(frame) > 0 {
		var n int
		var err error
		waitErr := c.raw.Write(func(fd uintptr) bool {
			err = syscall.EINTR
			for err == syscall.EINTR {
				n, err = syscall.SendmsgN(int(fd), frame, oob, nil, syscall.MSG_NOSIGNAL)
			}
			if err != syscall.EAGAIN {
				return true
			}
			if c.SendTimeout <= 0 || timed {
				return false
			}
			timed = true
			err = c.socket.SetWriteDeadline(time.Now().Add(c.SendTimeout))
			return err != nil
		})
		if waitErr != nil {
			return waitErr
		}
		if err != nil {
			return os.NewSyscallError("sendmsg", err)
		}
		frame, oob = frame[n:], nil
	}
	if timed {
		return c.socket.SetWriteDeadline(time.Time{})
	}
	return nil
}

package initproto

import (
	"io"
	"syscall"
)

// Frame is one frame as it is on the wire.
type Frame struct {
	Type Type
	Body []byte
	FDs  []int // owned by whoever received the frame
}

// Want is one frame that the receiver's state allows, with the exact number
// of descriptors that must come with it.
type Want struct {
	Type Type
	FDs  int
}

// Conn sends and receives frames. One goroutine may send while another
// receives.
type Conn struct{ t transport }

// NewConn gives a Conn on a blocking socket, which stays the caller's.
func NewConn(fd int) *Conn { return &Conn{blocking(fd)} }

// Send writes one frame. Its descriptors stay the caller's. The body is
// checked against its type's bound here too, so that no end can send what the
// other one refuses.
func (c *Conn) Send(f Frame) error {
	if len(f.Body) > f.Type.maxBody() {
		return ErrOversize
	}
	frame := appendHeader(make([]byte, 0, headerSize+len(f.Body)), f.Type, len(f.Body))
	return c.sendWhole(append(frame, f.Body...), f.FDs)
}

func appendHeader(b []byte, t Type, body int) []byte {
	return be.AppendUint32(append(b, byte(t)), uint32(body))
}

// sendWhole writes a frame as it is on the wire.
func (c *Conn) sendWhole(frame []byte, fds []int) error {
	var oob []byte
	if len(fds) > 0 {
		oob = syscall.UnixRights(fds...)
	}
	return wrap("send frame", c.write(frame, oob))
}

func (c *Conn) write(p, oob []byte) error {
	for len(p) > 0 {
		n, err := c.t.send(p, oob)
		if err != nil {
			return err
		}
		p, oob = p[n:], nil
	}
	return nil
}

// Receive reads one frame that is one of the wanted. It allocates a body only
// after the type and the length are found to be allowed. On an error every
// descriptor that came is closed; ErrGone says that the other end closed the
// socket before the frame began.
func (c *Conn) Receive(wants ...Want) (Frame, error) {
	var header [headerSize]byte
	fds, err := c.receiveHeader(header[:], maxFDs(wants))
	if err != nil {
		return Frame{}, err
	}
	f := Frame{Type: Type(header[0]), FDs: fds}
	length := be.Uint32(header[1:])
	switch want, ok := find(wants, f.Type); {
	case !ok:
		err = ErrUnexpected
	case uint64(length) > uint64(f.Type.maxBody()):
		err = ErrOversize
	case len(fds) != want.FDs:
		err = ErrDescriptors
	default:
		f.Body = make([]byte, length)
		err = c.receiveBody(f.Body)
	}
	if err != nil {
		CloseAll(fds)
		return Frame{}, err
	}
	return f, nil
}

func find(wants []Want, t Type) (Want, bool) {
	for _, w := range wants {
		if w.Type == t {
			return w, true
		}
	}
	return Want{}, false
}

func maxFDs(wants []Want) int {
	most := 0
	for _, w := range wants {
		most = max(most, w.FDs)
	}
	return most
}

// receiveHeader reads the header with at most limit descriptors, however many
// reads that takes.
func (c *Conn) receiveHeader(header []byte, limit int) ([]int, error) {
	var fds []int
	for at := 0; at < len(header); {
		n, got, err := c.receive(header[at:], limit-len(fds))
		fds = append(fds, got...)
		if err != nil {
			CloseAll(fds)
			if err == io.EOF && at == 0 {
				return nil, ErrGone
			}
			return nil, truncated(err)
		}
		at += n
	}
	return fds, nil
}

// receiveBody fills body and takes no descriptors at all.
func (c *Conn) receiveBody(body []byte) error {
	for at := 0; at < len(body); {
		n, _, err := c.receive(body[at:], 0)
		if err != nil {
			return truncated(err)
		}
		at += n
	}
	return nil
}

func truncated(err error) error {
	if err == io.EOF {
		return ErrTruncated
	}
	return err
}

// receive reads once. The control buffer has room for exactly limit
// descriptors, so the kernel itself closes a surplus and says so with
// MSG_CTRUNC (unix(7)).
func (c *Conn) receive(p []byte, limit int) (int, []int, error) {
	var oob []byte
	if limit > 0 {
		oob = make([]byte, syscall.CmsgLen(limit*4))
	}
	n, oobn, flags, err := c.t.receive(p, oob)
	if err == syscall.ECONNRESET { // it closed with a frame of ours unread
		return 0, nil, io.EOF
	}
	if err != nil {
		return 0, nil, wrap("receive frame", err)
	}
	fds, ok := descriptors(oob[:oobn])
	switch {
	case !ok || flags&syscall.MSG_CTRUNC != 0:
		CloseAll(fds)
		return 0, nil, ErrDescriptors
	case n == 0:
		CloseAll(fds)
		return 0, nil, io.EOF
	}
	return n, fds, nil
}

// descriptors gives every descriptor in a control buffer, and false if there
// was anything else in it.
func descriptors(oob []byte) ([]int, bool) {
	if len(oob) == 0 {
		return nil, true
	}
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, false
	}
	var fds []int
	ok := true
	for i := range messages {
		got, err := syscall.ParseUnixRights(&messages[i])
		fds, ok = append(fds, got...), ok && err == nil
	}
	return fds, ok
}

// CloseAll closes descriptors that were received and are not wanted.
func CloseAll(fds []int) {
	for _, fd := range fds {
		syscall.Close(fd) // nothing can be done about a failed close, and Linux has let go of the number
	}
}

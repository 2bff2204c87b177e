package api

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// headerSize is the length of a message's length in bytes.
const headerSize = 4

// chunkSize bounds how far memory runs ahead of what has really arrived, so
// that a length without its bytes costs nothing.
const chunkSize = 64 << 10

// ErrTooLarge says that a message is longer than its bound.
var ErrTooLarge = errors.New("message too large")

// Socket is a connected Unix stream socket: a *net.UnixConn, or an *os.File
// in non-blocking mode.
type Socket interface {
	syscall.Conn
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	Close() error
}

// Conn sends and receives messages. One goroutine may receive while any
// number send.
type Conn struct {
	// MaxReceive bounds a received message in bytes; NewConn sets MaxMessage.
	MaxReceive int
	// FrameTimeout bounds the time from a message's first byte to its last;
	// zero sets no bound and leaves the read deadline alone.
	FrameTimeout time.Duration
	// Admit, when set, may refuse a message by its length before its body is
	// read.
	Admit func(length int) error

	socket Socket
	raw    syscall.RawConn
	send   sync.Mutex
}

// NewConn speaks over s and takes it over: Close closes it.
func NewConn(s Socket) (*Conn, error) {
	raw, err := s.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("use socket: %w", err)
	}
	return &Conn{MaxReceive: MaxMessage, socket: s, raw: raw}, nil
}

// Close ends the connection; a Receive or Send under way fails.
func (c *Conn) Close() error { return c.socket.Close() }

// SetReadDeadline bounds the wait for a message.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.socket.SetReadDeadline(t) }

// SetWriteDeadline bounds sending.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.socket.SetWriteDeadline(t) }

// Send writes v as one message, with descriptors on its first byte. The
// descriptors stay the caller's. It returns an error that wraps ErrTooLarge
// when the message is over MaxMessage, and then sends nothing.
func (c *Conn) Send(v any, descriptors ...int) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	if len(body) > MaxMessage {
		return fmt.Errorf("send message: %w: %d of at most %d bytes", ErrTooLarge, len(body), MaxMessage)
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, headerSize+len(body)), uint32(len(body)))
	frame = append(frame, body...)
	c.send.Lock()
	defer c.send.Unlock()
	if err := c.write(frame, rights(descriptors)); err != nil {
		return fmt.Errorf("send message: %w", err)
	}
	return nil
}

// Receive reads one message into v, strictly (see Decode), and the
// descriptors on its first byte, which become the caller's: close-on-exec,
// and either exactly as many as given in want or none. It returns io.EOF
// when the peer closed between messages, and an error that wraps ErrTooLarge
// before it reads the body of a message over MaxReceive.
//
// After any error but io.EOF the stream has no known position: close it.
func (c *Conn) Receive(v any, want ...int) ([]*os.File, error) {
	length, files, err := c.header(want)
	if err != nil {
		return nil, err
	}
	if err = c.body(length, v); err != nil {
		closeAll(files)
		return nil, err
	}
	if c.FrameTimeout > 0 {
		if err := c.SetReadDeadline(time.Time{}); err != nil {
			closeAll(files)
			return nil, fmt.Errorf("clear deadline: %w", err)
		}
	}
	return files, nil
}

// header reads a message's length, its first byte apart: a reader that asks
// for more at once may be given descriptors that belong to a later byte.
func (c *Conn) header(want []int) (int, []*os.File, error) {
	var header [headerSize]byte
	files, err := c.first(header[:1], want)
	if err != nil {
		return 0, nil, err
	}
	if c.FrameTimeout > 0 {
		err = c.SetReadDeadline(time.Now().Add(c.FrameTimeout))
	}
	if err == nil {
		err = c.fill(header[1:])
	}
	length := binary.BigEndian.Uint32(header[:])
	if err == nil && uint64(length) > uint64(c.MaxReceive) {
		err = fmt.Errorf("receive message: %w: %d of at most %d bytes", ErrTooLarge, length, c.MaxReceive)
	}
	if err == nil && c.Admit != nil {
		err = c.Admit(int(length))
	}
	if err != nil {
		closeAll(files)
		return 0, nil, err
	}
	return int(length), files, nil
}

func (c *Conn) body(length int, v any) error {
	body := make([]byte, 0, min(length, chunkSize))
	for len(body) < length {
		start := len(body)
		body = append(body, make([]byte, min(length-start, chunkSize))...)
		if err := c.fill(body[start:]); err != nil {
			return err
		}
	}
	return Decode(body, v)
}

// fill reads exactly len(p) bytes that carry no descriptors.
func (c *Conn) fill(p []byte) error {
	for len(p) > 0 {
		n, _, err := c.read(p, nil)
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("receive message: %w", io.ErrUnexpectedEOF)
		}
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

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

// aheadSize is how much is asked for at once: most messages are whole in it,
// length and all.
const aheadSize = 4 << 10

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
// number send. Its timeouts cost nothing where there is nothing to wait for;
// zero is none, and leaves the deadlines of the socket alone.
type Conn struct {
	// MaxReceive bounds a received message in bytes; NewConn sets MaxMessage.
	MaxReceive int
	// IdleTimeout bounds the wait for a message's first byte, FrameTimeout
	// the time from there to its last.
	IdleTimeout, FrameTimeout time.Duration
	// SendTimeout bounds the time a peer takes to make room for a message.
	SendTimeout time.Duration
	// Admit, when set, may refuse a message by its length before its body is
	// read.
	Admit func(length int) error

	socket Socket
	raw    syscall.RawConn
	buffer []byte        // of aheadSize, once there is something to read
	ahead  []byte        // the part of it that was read and not yet taken
	later  bool          // the first message has been received, or begun
	wait   time.Duration // how long the read under way may wait
	timed  bool          // a read deadline is set for it
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
// It reads on into messages that follow, so only the first of a connection
// may come with descriptors; those of a later one are refused.
//
// After any error but io.EOF the stream has no known position: close it.
func (c *Conn) Receive(v any, want ...int) ([]*os.File, error) {
	length, files, err := c.header(want)
	if err == nil {
		err = c.body(length, v)
	}
	if timeErr := c.endWait(); err == nil {
		err = timeErr
	}
	if err != nil {
		closeAll(files)
		return nil, err
	}
	return files, nil
}

// header reads a message's length. Where descriptors may come, the first
// byte is read apart: a reader that asks for more at once may be given some
// that belong to a later byte.
func (c *Conn) header(want []int) (int, []*os.File, error) {
	var header [headerSize]byte
	rest := header[:]
	c.wait = c.IdleTimeout
	var files []*os.File
	var err error
	switch {
	case len(want) > 0 && !c.later:
		files, err = c.first(header[:1], want)
		rest = header[1:]
	case len(c.ahead) == 0:
		err = c.readAhead()
	}
	c.later = true
	if err == nil {
		c.wait = c.FrameTimeout
		if err = c.endWait(); err == nil {
			err = c.fill(rest)
		}
	}
	length := binary.BigEndian.Uint32(header[:])
	if err == nil && uint64(length) > uint64(c.MaxReceive) {
		err = fmt.Errorf("receive message: %w: %d of at most %d bytes", ErrTooLarge, length, c.MaxReceive)
	}
	if err == nil && c.Admit != nil {
		err = c.Admit(int(length))
	}
	return int(length), files, err
}

func (c *Conn) body(length int, v any) error {
	if length <= len(c.ahead) {
		body := c.ahead[:length]
		c.ahead = c.ahead[length:]
		defer clear(body) // which lives as long as the connection
		return Decode(body, v)
	}
	body := make([]byte, 0, min(length, chunkSize))
	defer func() { clear(body) }() // a request may hold a token
	for len(body) < length {
		start := len(body)
		body = lengthen(body, min(length-start, chunkSize))
		if err := c.fill(body[start:]); err != nil {
			return err
		}
	}
	return Decode(body, v)
}

// lengthen adds n bytes to b, of which it leaves no second copy.
func lengthen(b []byte, n int) []byte {
	if len(b)+n <= cap(b) {
		return b[:len(b)+n]
	}
	longer := make([]byte, len(b)+n, 2*cap(b)+n)
	copy(longer, b)
	clear(b)
	return longer
}

// fill takes exactly len(p) bytes of a message under way.
func (c *Conn) fill(p []byte) error {
	for {
		n := copy(p, c.ahead)
		clear(c.ahead[:n])
		p, c.ahead = p[n:], c.ahead[n:]
		if len(p) == 0 {
			return nil
		}
		var err error
		if len(p) < aheadSize {
			err = c.readAhead()
		} else {
			n, _, err = c.read(p, nil)
			p = p[n:]
		}
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("receive message: %w", io.ErrUnexpectedEOF)
		}
		if err != nil {
			return err
		}
	}
}

// readAhead takes what has come, without descriptors; nothing may be left of
// what was taken before.
func (c *Conn) readAhead() error {
	if c.buffer == nil {
		c.buffer = make([]byte, aheadSize)
	}
	n, _, err := c.read(c.buffer, nil)
	c.ahead = c.buffer[:n]
	return err
}

// beginWait sets the deadline of a read that has to wait, once.
func (c *Conn) beginWait() error {
	if c.wait <= 0 || c.timed {
		return nil
	}
	c.timed = true
	return c.socket.SetReadDeadline(time.Now().Add(c.wait))
}

// endWait clears the deadline that was set.
func (c *Conn) endWait() error {
	if !c.timed {
		return nil
	}
	c.timed = false
	if err := c.socket.SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("clear deadline: %w", err)
	}
	return nil
}

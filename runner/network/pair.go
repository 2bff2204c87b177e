package network

import (
	"io"
	"net"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// tcpClose is TCP_CLOSE of linux/tcp_states.h: the connection is gone.
const tcpClose = 7

// pair is one connection of the sandbox and its counterpart outside.
type pair struct {
	client *net.TCPConn

	mu    sync.Mutex
	far   *net.TCPConn // nil until it is connected
	ended bool

	// Each is set once its direction has seen the end of its source, before
	// that end is passed on.
	upDone, downDone atomic.Bool
	failed           atomic.Bool
}

// connect adds the far side; false says that the pair has ended meanwhile and
// that far was closed.
func (p *pair) connect(far *net.TCPConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		reset(far)
		return false
	}
	p.far = far
	return true
}

// run copies in both directions until both have ended. io.Copy between TCP
// connections splices through a pipe of at most 1 MiB, so the bytes never
// pass through this process's memory.
func (p *pair) run() {
	var down sync.WaitGroup
	down.Go(func() { p.copy(p.client, p.far, &p.upDone, &p.downDone) })
	p.copy(p.far, p.client, &p.downDone, &p.upDone)
	down.Wait()
	if p.failed.Load() {
		p.abort()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		p.ended = true
		_ = p.client.Close()
		_ = p.far.Close()
	}
}

// copy moves one direction. The end of src is passed on as a half-close, so
// the other direction can go on; a broken end is passed on as a reset, never
// as a clean end, so that a cut answer cannot pass for a whole one.
func (p *pair) copy(dst, src *net.TCPConn, backDone, done *atomic.Bool) {
	_, err := io.Copy(dst, src)
	// When a connection is reset, only one of its reader and writer is told;
	// the reader may see a plain end. Without a half-close of ours behind it,
	// a clean end leaves the socket in CLOSE_WAIT, not in CLOSE. The state
	// is read before backDone, which is set before the half-close.
	if err == nil && (!gone(src) || backDone.Load()) {
		done.Store(true)
		err = dst.CloseWrite()
		if err == nil {
			return
		}
	}
	p.failed.Store(true)
	// When it is dst that is gone, the other direction may still hold the
	// last of what dst sent (an answer to a request that was not read to the
	// end); it ends by itself, for it reads from dst.
	if gone(dst) && !gone(src) {
		return
	}
	p.abort()
}

// abort resets both sides at once. It may be called more than once.
func (p *pair) abort() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	p.ended = true
	reset(p.client)
	if p.far != nil {
		reset(p.far)
	}
}

// reset closes a connection with RST: SO_LINGER of zero (socket(7)). It drops
// what was not sent, so it never blocks and leaves no TIME_WAIT.
func reset(conn *net.TCPConn) {
	_ = conn.SetLinger(0)
	_ = conn.Close()
}

// gone says whether the kernel has given a connection up, or this process has.
func gone(conn *net.TCPConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return true
	}
	state := uint8(tcpClose)
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			state = info.State
		}
	})
	return state == tcpClose
}

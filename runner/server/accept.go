package server

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/api"
)

// socketKind is which of the sockets a connection came in by.
type socketKind string

const (
	execSocket  socketKind = "exec"
	adminSocket socketKind = "admin"
	tokenSocket socketKind = "token"
)

// reservedConns is the part of a socket's places kept for admins: a sixteenth.
const reservedConns = 16

// A message over largeMessage bytes takes one of maxLarge places while it is
// received, so that many half-sent requests cannot fill the memory: at most
// maxLarge × api.MaxMessage, of which one uid can have maxLargePerUID.
const (
	largeMessage   = 64 << 10
	maxLarge       = 32
	maxLargePerUID = 8
)

// accept serves one listener until it is closed. A failure that may pass
// (such as running out of descriptors) is waited out, as in net/http.
func (s *Server) accept(listener net.Listener, kind socketKind, seats *seats) error {
	if listener == nil {
		return nil
	}
	var delay time.Duration
	for {
		conn, err := listener.Accept()
		switch {
		case err == nil:
			delay = 0
			s.admit(conn, kind, seats)
		case s.isClosing():
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept on %s socket: %w", kind, err)
		default:
			delay = min(max(2*delay, 5*time.Millisecond), time.Second)
			s.options.Log("accept on %s socket: %v; trying again in %v", kind, err, delay)
			select {
			case <-time.After(delay):
			case <-s.ctx.Done():
			}
		}
	}
}

// admit learns who called and gives the connection a place and a goroutine.
// It runs in the accept loop, so nothing in it may wait for the peer: the one
// message it may send is the first, into an empty buffer.
func (s *Server) admit(socket net.Conn, kind socketKind, seats *seats) {
	unixConn, ok := socket.(*net.UnixConn)
	if !ok {
		socket.Close()
		s.options.Log("accept on %s socket: %T is not a Unix connection", kind, socket)
		return
	}
	peer, err := peerOf(unixConn)
	if err != nil {
		socket.Close()
		s.options.Log("accept on %s socket: %v", kind, err)
		return
	}
	conn, err := api.NewConn(unixConn)
	if err != nil {
		socket.Close()
		s.options.Log("accept on %s socket: %v", kind, err)
		return
	}
	peer.Further = seats.further
	conn.SendTimeout = s.options.WriteTimeout
	c := &call{server: s, conn: conn, peer: peer, uid: peer.UID, socket: kind, large: s.large}
	if kind == tokenSocket {
		c.peer, c.large = Peer{UID: noID, GID: noID}, s.largeOfTokens
	}
	hungUp := seats.hungUp() // before it is asked where the peer is, which may end then
	if !s.outside(peer, seats) {
		c.fail(errInside)
		conn.Close()
		return
	}
	if !seats.take(c) {
		c.fail(errBusy(c.uid))
		conn.Close()
		return
	}
	if seats.hungUp() != hungUp { // asked once the call is among those that are hung up on
		c.fail(errHungUp)
		conn.Close()
		seats.leave(c)
		return
	}
	if !s.enter(c) {
		c.fail(errClosing)
		conn.Close()
		seats.leave(c)
		return
	}
	go func() {
		defer s.calls.Done()
		defer seats.leave(c)
		defer conn.Close()
		c.serve()
	}()
}

// outside says whether a process may use a socket, as far as that is a matter of
// where it is. One that has ended, or of which nothing is known, may not.
func (s *Server) outside(peer Peer, seats *seats) bool {
	if s.options.SandboxOf == nil || peer.PID == 0 { // no process of a namespace below this one (pid_namespaces(7))
		return true
	}
	sandbox, err := s.options.SandboxOf(peer.PID)
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.ESRCH):
		return false
	case err != nil:
		s.options.Log("find where uid %d calls from: %v", peer.UID, err)
		return false
	case sandbox == "" || seats.own(sandbox):
		return true
	}
	if more, _, log := s.insiders.Note(time.Now()); log {
		s.options.Log("refused a connection from inside sandbox %s (%d before it not logged)", sandbox, more)
	}
	return false
}

// peerOf reads SO_PEERCRED (unix(7)): the identity the peer had when it
// connected, which it cannot choose.
func peerOf(conn *net.UnixConn) (Peer, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return Peer{}, fmt.Errorf("read peer credentials: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return Peer{}, fmt.Errorf("read peer credentials: %w", err)
	}
	if credErr != nil {
		return Peer{}, fmt.Errorf("read peer credentials: %w", credErr)
	}
	return Peer{UID: cred.Uid, GID: cred.Gid, PID: cred.Pid}, nil
}

// enter counts a connection in; Close waits for it, after closing it if it
// has not brought a request by then.
func (s *Server) enter(c *call) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.calls.Add(1)
	s.waiting[c] = struct{}{}
	return true
}

// arrived says that a connection has brought its request (or failed to).
func (s *Server) arrived(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, c)
}

// receive reads the request. It returns neither a request nor an error for a
// peer that left, or was sent away by Close or for another, without asking
// anything.
func (c *call) receive() (*api.Request, []*os.File, error) {
	defer c.server.arrived(c)
	c.conn.IdleTimeout, c.conn.FrameTimeout = c.server.options.RequestTimeout, c.server.options.RequestTimeout
	held := false
	c.conn.Admit = func(length int) error {
		if length > largeMessage {
			held = c.large.acquire(c.uid, c.privileged())
			if !held {
				return errBusyLarge
			}
		}
		return nil
	}
	var request api.Request
	files, err := c.conn.Receive(&request, execDescriptors, secretDescriptors)
	if held {
		c.large.release(c.uid)
	}
	if err != nil {
		clear(request.Token) // nobody else will
	}
	c.conn.Admit, c.conn.IdleTimeout = nil, 0 // what may follow takes as long as the command
	if !c.seats.work(c) {
		for _, file := range files {
			file.Close()
		}
		clear(request.Token)
		return nil, nil, nil
	}
	if err == io.EOF || errors.Is(err, net.ErrClosed) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, badFrame(err)
	}
	return &request, files, nil
}

package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/cgroup"
	"github.com/creel-sandbox/creel/runner/pidfd"
)

// socketName is the control socket in its directory.
const socketName = "socket"

// controlDir is what a sandbox finds at rootfs.ControlTarget. Its user may
// walk it there; on the host the directory above it lets nobody but root in.
func (e *Engine) controlDir(id string) string { return filepath.Join(e.dir(id), "control") }

// listen makes the control socket of a sandbox, for its user alone.
func (e *Engine) listen(id string, uid uint32) (_ *net.UnixListener, err error) {
	if err := os.Mkdir(e.controlDir(id), 0o711); err != nil {
		return nil, fmt.Errorf("make control directory: %w", err)
	}
	dir, err := os.Open(e.controlDir(id))
	if err != nil {
		return nil, fmt.Errorf("make control socket: %w", err)
	}
	defer dir.Close()
	// By descriptor, since the path may be longer than a socket's can (unix(7)).
	path := fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), socketName)
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("make control socket: %w", err)
	}
	listener.SetUnlinkOnClose(false) // the descriptor in its path is closed by then
	defer func() {
		if err != nil {
			listener.Close()
		}
	}()
	// Whoever opens a socket file needs to write to it.
	if err := errors.Join(os.Chmod(path, 0o600), os.Chown(path, int(uid), -1)); err != nil {
		return nil, fmt.Errorf("make control socket: %w", err)
	}
	return listener, nil
}

// accept waits for the init, whose pidfd and group are given, and refuses
// everybody else. Then there is no socket any more.
func (e *Engine) accept(ctx context.Context, id string, listener *net.UnixListener, pid int, held *os.File, group cgroup.Group) (*net.UnixConn, error) {
	defer listener.Close()
	defer watch(ctx, listener, held)()
	for {
		conn, err := listener.AcceptUnix()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = errors.New("it ended before it connected")
		}
		if err != nil {
			return nil, fmt.Errorf("wait for init: %w", err)
		}
		if err := expected(conn, pid, group); err != nil {
			conn.Close()
			e.cfg.Log.WithField("sandbox", id).WithError(err).Warn("refused a connection to a control socket")
			continue
		}
		if err := os.Remove(filepath.Join(e.controlDir(id), socketName)); err != nil {
			conn.Close()
			return nil, fmt.Errorf("remove control socket: %w", err)
		}
		return conn, nil
	}
}

// watch makes the listener give up when the init has ended or ctx is done.
func watch(ctx context.Context, listener *net.UnixListener, held *os.File) (stop func()) {
	giveUp := func() { listener.SetDeadline(time.Unix(1, 0)) }
	unwatch := context.AfterFunc(ctx, giveUp)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if pidfd.Wait(held) == nil {
			giveUp()
		}
	}()
	return func() {
		unwatch()
		held.SetReadDeadline(time.Unix(1, 0)) // wakes the goroutine
		<-done
		held.SetReadDeadline(time.Time{})
	}
}

// expected says whether the process at the other end is the init. It is held
// by a pidfd, so that its number is its own.
func expected(conn *net.UnixConn, pid int, group cgroup.Group) error {
	control, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("read peer: %w", err)
	}
	var peer *unix.Ucred
	var peerErr error
	if err := control.Control(func(fd uintptr) {
		peer, peerErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil || peerErr != nil {
		return fmt.Errorf("read peer: %w", errors.Join(err, peerErr))
	}
	pids, err := group.Procs()
	switch {
	case err != nil:
		return fmt.Errorf("read peer's group: %w", err)
	case int(peer.Pid) != pid:
		return fmt.Errorf("the peer is process %d of uid %d, and not the init, process %d", peer.Pid, peer.Uid, pid)
	case !slices.Contains(pids, pid):
		return fmt.Errorf("the peer, process %d, is not in the sandbox's control group", peer.Pid)
	}
	return nil
}

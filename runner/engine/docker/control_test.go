package docker

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// dial connects to a control socket as a process of the host.
func (r *rig) dial(id string) (net.Conn, error) {
	return net.Dial("unix", r.controlDir(id)+"/"+socketName)
}

// startBehind makes a container whose init has not connected yet, with as many wrong
// peers before it as are given, and accepts.
func (r *rig) startBehind(id string, peers int) []net.Conn {
	r.t.Helper()
	p := r.policy(hostRoot)
	root := r.prepare(p)
	check(r.t, os.Mkdir(r.dir+"/docker/"+id, 0o711))
	listener, err := r.listen(id, who.UID)
	check(r.t, err)
	var wrong []net.Conn
	for range peers {
		conn, err := r.dial(id)
		check(r.t, err)
		wrong = append(wrong, conn)
	}
	d, err := r.known(r.t.Context())
	check(r.t, err)
	container, err := r.makeContainer(r.t.Context(), request(id, p, root), r.roots.of(root), d.groups.parent)
	check(r.t, err)
	check(r.t, os.WriteFile(r.containerPath(id), []byte(container), 0o600))
	sandbox, err := r.startContainer(r.t.Context(), id, container, listener, d.groups)
	check(r.t, err)
	check(r.t, sandbox.Control.Close())
	check(r.t, sandbox.Pidfd.Close())
	check(r.t, root.Release())
	return wrong
}

// Whoever connects before the init is refused and is not in its way.
func TestWrongPeersAreRefused(t *testing.T) {
	r := realRig(t)
	for i, conn := range r.startBehind("siege", 20) {
		check(t, conn.SetReadDeadline(time.Now().Add(patience)))
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("peer %d: %d bytes, %v", i, n, err)
		}
		conn.Close()
	}
	check(t, r.Remove(t.Context(), "siege"))
	r.gone()
}

// Once the init has connected there is nothing to connect to.
func TestSocketIsGoneAfterTheOnePeer(t *testing.T) {
	r := realRig(t)
	r.create("one", r.policy(hostRoot))
	if _, err := r.dial("one"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("connect: %v", err)
	}
	entries, err := os.ReadDir(r.controlDir("one"))
	if err != nil || len(entries) != 0 {
		t.Errorf("left in the directory: %v, %v", entries, err)
	}
	check(t, r.Remove(t.Context(), "one"))
}

// No other user of the host comes near a control socket, the sandbox's own
// included, whose file it is.
func TestControlDirectoryIsClosedToOtherUsers(t *testing.T) {
	r := newRig(t, "/tmp/no-such-docker.sock", time.Second)
	check(t, os.Mkdir(r.dir+"/docker/closed", 0o711))
	listener, err := r.listen("closed", who.UID)
	check(t, err)
	defer listener.Close()
	conn, err := r.dial("closed") // the control: root can
	check(t, err)
	conn.Close()
	for _, uid := range []uint32{who.UID, 65534} {
		cmd := exec.Command("test", "-e", r.controlDir("closed")+"/"+socketName)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
		if err := cmd.Run(); err == nil {
			t.Errorf("uid %d sees the socket", uid)
		}
	}
}

// An init that ends before it connects does not keep anybody waiting.
func TestInitThatEndsFirstIsNotAwaited(t *testing.T) {
	r := newRig(t, "/tmp/no-such-docker.sock", time.Second)
	check(t, os.Mkdir(r.dir+"/docker/short", 0o711))
	listener, err := r.listen("short", who.UID)
	check(t, err)
	cmd := exec.Command("sleep", "1000")
	check(t, cmd.Start())
	fd, err := unix.PidfdOpen(cmd.Process.Pid, unix.PIDFD_NONBLOCK)
	check(t, err)
	pidfd := os.NewFile(uintptr(fd), "pidfd")
	defer pidfd.Close()
	check(t, cmd.Process.Kill())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err = r.accept(ctx, "short", listener, cmd.Process.Pid, pidfd, r.groups[0].Group("short"))
	if err == nil || ctx.Err() != nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	_ = cmd.Wait() // says "killed"
}

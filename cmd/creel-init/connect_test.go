package main

import (
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/runner/initproto"
)

// listenForInit makes a control socket that the sandbox's user can open.
func listenForInit(t *testing.T) *net.UnixListener {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "creel-")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	must(t, os.Chmod(dir, 0o711))
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: dir + "/socket", Net: "unix"})
	must(t, err)
	t.Cleanup(func() { listener.Close() })
	must(t, os.Chown(dir+"/socket", sandboxUID, sandboxUID))
	must(t, listener.SetDeadline(time.Now().Add(deadline)))
	return listener
}

// An init whose engine gives it a path talks on that socket, and not on a
// descriptor that it inherited all the same.
func TestSocketArgumentIsConnected(t *testing.T) {
	listener := listenForInit(t)
	b, inherited := newBoxWithSocket(t, engineOptions{flags: []string{"leak-fds", "argument", listener.Addr().String()}})
	conn, err := listener.AcceptUnix()
	must(t, err)
	session, err := initproto.NewSupervisor(conn)
	must(t, err)
	_, err = session.Handshake(b.context(), initproto.Setup{})
	must(t, err)
	must(t, session.Start(b.context(), script("exit 7"), b.inside))
	if exit, err := session.Wait(); err != nil || exit.Code != 7 {
		t.Errorf("got %+v, %v", exit, err)
	}
	<-b.ended
	var said [1]byte
	if n, err := unix.Read(inherited, said[:]); n != 0 || err != nil {
		t.Errorf("on the inherited descriptor: %d bytes, %v", n, err)
	}
}

func TestBadSocketArgumentsEndTheInit(t *testing.T) {
	listener := listenForInit(t)
	path := listener.Addr().String()
	for _, arguments := range [][]string{
		{path + "-missing"}, {"/etc/passwd"}, {path, path}, {path, ""}, {"/" + strings.Repeat("x", 300)},
	} {
		b := newBox(t, engineOptions{flags: append([]string{"argument"}, arguments...)})
		<-b.ended
		if code := b.engine.ProcessState.ExitCode(); code != 1 {
			t.Errorf("%.40q: exit code %d", arguments, code)
		}
	}
}

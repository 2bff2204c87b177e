package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"

	"github.com/creel-sandbox/creel/policy"
	"github.com/creel-sandbox/creel/runner/api"
)

// sockets are the listeners: two that are made here or by systemd, and the one
// for callers with a token, which is made here or nil.
type sockets struct{ exec, admin, token net.Listener }

// The names that creeld-exec.socket and creeld-admin.socket give their
// descriptors (FileDescriptorName=, systemd.socket(5)).
const (
	execDescriptor  = "exec"
	adminDescriptor = "admin"
)

// openSockets opens all sockets, or none.
func (d *daemon) openSockets(cfg *policy.Config) (*sockets, error) {
	s, err := openOwnSockets(cfg)
	if err != nil {
		return nil, err
	}
	if s.token, err = openTokenSocket(cfg); err != nil {
		return nil, errors.Join(err, s.close())
	}
	d.onClose(s.close)
	return s, nil
}

// close closes those that nobody has closed yet.
func (s *sockets) close() error {
	var errs []error
	for _, listener := range []net.Listener{s.exec, s.admin, s.token} {
		if listener == nil {
			continue
		}
		if err := listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, fmt.Errorf("close socket: %w", err))
		}
	}
	return errors.Join(errs...)
}

// openOwnSockets takes the sockets that systemd activated, or makes them: both
// belong to root, and the group that is configured may connect to the one for
// commands. The one for operators is root's unless others are named admins.
func openOwnSockets(cfg *policy.Config) (*sockets, error) {
	named, err := activation.ListenersWithNames()
	if err != nil {
		return nil, fmt.Errorf("take sockets from systemd: %w", err)
	}
	if len(named) > 0 {
		if len(named[execDescriptor]) != 1 || len(named[adminDescriptor]) != 1 {
			return nil, errors.New("take sockets from systemd: want one named exec and one named admin")
		}
		return &sockets{exec: named[execDescriptor][0], admin: named[adminDescriptor][0]}, nil
	}
	gid, grouped := groupID(cfg.Group)
	exec, err := listen(filepath.Join(cfg.RuntimeDir, api.ExecSocketName), gid, modeOf(grouped))
	if err != nil {
		return nil, err
	}
	admin, err := listen(filepath.Join(cfg.RuntimeDir, api.AdminSocketName), gid, modeOf(grouped && len(cfg.Admins) > 0))
	if err != nil {
		exec.Close()
		return nil, err
	}
	return &sockets{exec: exec, admin: admin}, nil
}

// ownerOnly is the mode of a socket that root alone may connect to.
const ownerOnly = 0o600

func modeOf(grouped bool) os.FileMode {
	if grouped {
		return 0o660
	}
	return ownerOnly
}

func groupID(name string) (int, bool) {
	group, err := user.LookupGroup(name)
	if err != nil {
		return 0, false
	}
	gid, err := strconv.Atoi(group.Gid)
	return gid, err == nil
}

// listen makes one socket. It is never open to more than it ends up with: its
// mode is set before it has a name (unix(7): bind(2) takes the mode of the
// descriptor), and not by umask(2), which is the whole process's.
func listen(path string, gid int, mode os.FileMode) (net.Listener, error) {
	// The lock is held, so a socket here is one that a killed supervisor left.
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	config := net.ListenConfig{Control: func(_, _ string, socket syscall.RawConn) error {
		var chmodErr error
		err := socket.Control(func(fd uintptr) { chmodErr = unix.Fchmod(int(fd), ownerOnly) })
		return errors.Join(err, chmodErr)
	}}
	listener, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if mode == ownerOnly {
		return listener, nil
	}
	if err := errors.Join(os.Chown(path, 0, gid), os.Chmod(path, mode)); err != nil {
		listener.Close()
		return nil, fmt.Errorf("let others connect to %s: %w", path, err)
	}
	return listener, nil
}
